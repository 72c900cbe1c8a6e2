"""`Order` keeps the items of a conversation in their order."""

from .items import ConversationItem

__all__ = ["Order"]


class Order:
    """Keep the items of a conversation in order.

    By the specification an item without ``previous_item_id`` is the first.  But many servers never send
    that field, and then the item is the last.  To tell these servers apart: every server appends its own
    items and the user's speech at the end.  If such an item has no predecessor although it is not the
    first, or one that was taken for the first, this server doesn't name predecessors.

    Attributes:
        items: The items, from the first to the last.
    """

    def __init__(self) -> None:
        self.items: list[ConversationItem] = []
        self._guessed: set[str] = set()  # ids of items whose place is not known yet
        self._fronted: list[ConversationItem] = []  # put first for want of a predecessor, perhaps wrongly
        self._names_predecessors: bool | None = None  # whether the server does; ``None`` if not known yet

    def is_settled(self, item: ConversationItem) -> bool:
        """Return whether an item is in the conversation at the place that the server named."""
        return item.in_conversation and item.id not in self._guessed

    def guess(self, item: ConversationItem) -> None:
        """Put an item at the end until an event says where it belongs."""
        self.remove(item)
        self._guessed.add(item.id)
        self._insert(len(self.items), item)

    def put_after(self, before: ConversationItem, item: ConversationItem, *, by_server: bool) -> None:
        """Put an item after another one, which must be in the conversation.

        Args:
            by_server: Whether it is one of the items that servers append at the end.

        Raises:
            ValueError: ``before`` is not in the conversation.
        """
        self.remove(item)
        self._names_predecessors = self._names_predecessors is not False
        if by_server:
            self._learn(before is self.items[-1] or before not in self._fronted)
        self._insert(self._index(before) + 1, item)

    def put(self, item: ConversationItem, *, by_server: bool) -> None:
        """Put an item for which no predecessor is named.

        Args:
            by_server: Whether it is one of the items that servers append at the end.
        """
        self.remove(item)
        if by_server and self.items:
            self._learn(False)
        doubtful = self._names_predecessors is None and bool(self._guessed)
        if not self.items or doubtful or self._names_predecessors is False:
            self._insert(len(self.items), item)
        else:
            self._fronted.append(item)
            self._insert(0, item)

    def remove(self, item: ConversationItem) -> None:
        """Remove an item, if it is in the conversation."""
        self._guessed.discard(item.id)
        if item.in_conversation:
            del self.items[self._index(item)]
        item.in_conversation = False

    def _insert(self, index: int, item: ConversationItem) -> None:
        item.in_conversation = True
        self.items.insert(index, item)

    def _learn(self, names_predecessors: bool) -> None:
        """Keep the items that were put first for want of a predecessor, or move them to the end."""
        if not names_predecessors:
            self._names_predecessors = False
            for item in self._fronted:
                if item.in_conversation:
                    del self.items[self._index(item)]
                    self.items.append(item)
        self._fronted.clear()

    def _index(self, item: ConversationItem) -> int:
        """Return an item's index; search from the end, where nearly all wanted items are."""
        for index in range(len(self.items) - 1, -1, -1):
            if self.items[index] is item:
                return index
        raise ValueError(f"{item} is not in the conversation")

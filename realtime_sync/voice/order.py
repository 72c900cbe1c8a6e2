"""`Order`: which items are in a conversation, and where."""

from .items import ConversationItem

__all__ = ["Order"]


class Order:
    """The items that are in a conversation, in order.

    One without a predecessor is the first.  But many servers never name any, and then it is the last.
    What tells them apart: a server puts its own items, and what the user said, at the end.  If such an item
    has no predecessor, or one that we took for the first, or is not told of at all, then none were meant.

    Attributes:
        items: From the first to the last.
    """

    def __init__(self) -> None:
        self.items: list[ConversationItem] = []
        self._guessed: set[str] = set()  # ids of items whose place nothing has told yet
        self._fronted: list[ConversationItem] = []  # put first as they have no predecessor, perhaps wrongly
        self._names_predecessors: bool | None = None  # whether the server does; `None` = not known yet

    def is_settled(self, item: ConversationItem) -> bool:
        """Whether an item is where the server has said."""
        return item.in_conversation and item.id not in self._guessed

    def guess(self, item: ConversationItem) -> None:
        """Put an item at the end until something says where it is."""
        self.remove(item)
        self._guessed.add(item.id)
        self._insert(len(self.items), item)

    def put_after(self, before: ConversationItem, item: ConversationItem, *, by_server: bool) -> None:
        """Put an item behind another one, which is in the conversation.

        Args:
            by_server: The server puts it at the end.
        """
        self.remove(item)
        self._names_predecessors = self._names_predecessors is not False
        if by_server:
            self._learn(before is self.items[-1] or before not in self._fronted)
        self._insert(self._index(before) + 1, item)

    def put(self, item: ConversationItem, *, by_server: bool) -> None:
        """Put an item of which no predecessor is named."""
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
        """Take an item out, if it is there."""
        self._guessed.discard(item.id)
        if item.in_conversation:
            del self.items[self._index(item)]
        item.in_conversation = False

    def _insert(self, index: int, item: ConversationItem) -> None:
        item.in_conversation = True
        self.items.insert(index, item)

    def _learn(self, names_predecessors: bool) -> None:
        """What was put first because it has no predecessor: it was right, or it belongs to the end."""
        if not names_predecessors:
            self._names_predecessors = False
            for item in self._fronted:
                if item.in_conversation:
                    del self.items[self._index(item)]
                    self.items.append(item)
        self._fronted.clear()

    def _index(self, item: ConversationItem) -> int:
        """Where an item is; looked for from the end, where nearly all of them are."""
        for index in range(len(self.items) - 1, -1, -1):
            if self.items[index] is item:
                return index
        raise ValueError(f"{item} is not in the conversation")

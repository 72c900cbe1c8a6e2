"""`Order` keeps the items of a conversation in their order."""

from collections.abc import Callable

from ..chain import Chain
from .facts import Fact, ItemDeleted, ItemEntry, ItemPlaced

__all__ = ["MOST_ITEMS", "Order"]

MOST_ITEMS = 10_000
"""Items that are kept; of a longer conversation the first are forgotten."""


class Order:
    """Keep the items of a conversation in order, and tell each change of it.

    By the specification an item without ``previous_item_id`` is the first.  But many servers never send
    that field, and then the item is the last.  To tell these servers apart: every server appends its own
    items and the user's speech at the end.  If such an item has no predecessor although it is not the
    first, or one that was taken for the first, this server doesn't name predecessors.

    Args:
        tell: Called with each fact.

    Attributes:
        items: The items, from the first to the last.
    """

    def __init__(self, tell: Callable[[Fact], object]) -> None:
        self.items: Chain[ItemEntry] = Chain()
        self._tell = tell
        self._guessed: set[ItemEntry] = set()  # items whose place is not known yet
        # Items that were put first for want of a predecessor, perhaps wrongly.
        self._fronted: dict[ItemEntry, None] = {}
        self._names_predecessors: bool | None = None  # whether the server does; ``None`` if not known yet

    def is_settled(self, item: ItemEntry) -> bool:
        """Return whether an item is in the conversation at the place that the server named."""
        return item.in_conversation and item not in self._guessed

    def guess(self, item: ItemEntry) -> None:
        """Put an item at the end until an event says where it belongs."""
        self._take(item)
        self._guessed.add(item)
        self._insert(self.items.last, item)

    def put_after(self, before: ItemEntry, item: ItemEntry, *, by_server: bool) -> None:
        """Put an item after another one, which must be in the conversation.

        Args:
            by_server: Whether it is one of the items that servers append at the end.
        """
        self._names_predecessors = self._names_predecessors is not False
        if by_server:
            self._learn(self._last_but(item) is before or before not in self._fronted)
        self._take(item)
        self._insert(before, item)

    def put(self, item: ItemEntry, *, by_server: bool) -> None:
        """Put an item for which no predecessor is named.

        Args:
            by_server: Whether it is one of the items that servers append at the end.
        """
        if by_server and self._last_but(item) is not None:
            self._learn(False)
        self._take(item)
        doubtful = self._names_predecessors is None and bool(self._guessed)
        if not self.items or doubtful or self._names_predecessors is False:
            self._insert(self.items.last, item)
        else:
            self._fronted[item] = None
            self._insert(None, item)

    def _last_but(self, item: ItemEntry) -> ItemEntry | None:
        """Return the last of the other items; ``None`` if there are none."""
        last = self.items.last
        return self.items.before(item) if last is item else last

    def delete(self, item: ItemEntry) -> None:
        """Remove an item, which must be in the conversation."""
        self._take(item)
        self._tell(ItemDeleted(item))

    def settle(self) -> None:
        """Take the order as it is for the right one: it was created anew in another session."""
        self._guessed.clear()
        self._fronted.clear()

    def _take(self, item: ItemEntry) -> None:
        self._guessed.discard(item)
        self._fronted.pop(item, None)
        if item.in_conversation:
            self.items.remove(item)
        item.in_conversation = False

    def _insert(self, before: ItemEntry | None, item: ItemEntry) -> None:
        item.in_conversation = True
        self.items.put(item, before)
        self._tell(ItemPlaced(item, before))
        if len(self.items) > MOST_ITEMS and (first := self.items.first) is not None:
            self._take(first)
            self._tell(ItemDeleted(first, forgotten=True))

    def _learn(self, names_predecessors: bool) -> None:
        """Keep the items that were put first for want of a predecessor, or move them to the end."""
        if not names_predecessors:
            self._names_predecessors = False
            for item in self._fronted:
                self.items.remove(item)
                self._tell(ItemPlaced(item, self.items.last))
                self.items.put(item, self.items.last)
        self._fronted.clear()

"""Server-sent events: what an endpoint's stream carries, whatever the pieces in which it comes."""

import re

__all__ = ["EventStream"]

_MOST_DATA = 4 * 1024 * 1024  # bytes of one event
_LINE = 64  # about how many bytes a line takes besides what is in it
_END_OF_LINE = re.compile(rb"\r\n|\r|\n")
_MARK = b"\xef\xbb\xbf"  # a byte order mark


class EventStream:
    """Takes the bytes of a stream as they come, and gives the data of each event.

    Its work is linear in the bytes, and what it holds is bounded.  Names, ids and comments are left out.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._held = 0  # bytes of `_data`
        self._first = True
        self._after_return = False

    def feed(self, chunk: bytes) -> list[str]:
        """Return the data of the events that these bytes end.

        Raises:
            ValueError: An event has no end.
        """
        if self._after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_return = False
        self._after_return = chunk.endswith(b"\r") if chunk else self._after_return
        beginning, *others = _END_OF_LINE.split(chunk)
        self._line += beginning
        found = []
        for line in others:
            found += self._end_line()
            self._line += line
        if len(self._line) + self._held > _MOST_DATA:
            raise ValueError(f"an event of more than {_MOST_DATA} bytes")
        return found

    def end(self) -> list[str]:
        """Return the data of an event that nothing but the end of the stream ends."""
        return [*self._end_line(), *self._end_line()]

    def _end_line(self) -> list[str]:
        line = bytes(self._line)
        self._line.clear()
        if self._first:
            self._first, line = False, line.removeprefix(_MARK)
        if not line:
            return self._end_event()
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._held += len(value) + _LINE
        return []

    def _end_event(self) -> list[str]:
        if not self._data:
            return []
        data = b"\n".join(self._data).decode("utf-8", "replace")
        self._data, self._held = [], 0
        return [data]

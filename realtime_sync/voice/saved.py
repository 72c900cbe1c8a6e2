"""Save the items of a conversation in a file that is whole at any time, and load them again."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import msgspec
from msgspec import Struct

from .. import events as ev
from ..events.mend import mend

__all__ = ["Saved", "load_items", "save_items"]

_VERSION, _KIND = 1, "conversation"
_EXPECTED = f'expected an object with "realtime_sync": {_VERSION} and "kind": "{_KIND}"'


class Saved(Struct, omit_defaults=True, kw_only=True):
    """What the file holds, as JSON.

    Attributes:
        realtime_sync: The version of this format.
        kind: What is saved.
        dialect: The dialect that the items are for.
        input_audio_format: The format of the user's audio, where it is saved: items don't name it.
        items: The items, in order.
    """

    realtime_sync: int = msgspec.field(default_factory=lambda: _VERSION)  # which is written always
    kind: str = msgspec.field(default_factory=lambda: _KIND)
    dialect: str
    input_audio_format: str | None = None
    items: list[ev.Item]


def save_items(path: str | os.PathLike[str], saved: Saved) -> None:
    """Write the file; see `Conversation.save`."""
    _replace(os.path.realpath(os.fspath(path)), msgspec.json.format(msgspec.json.encode(saved), indent=2))


def _replace(path: str, data: bytes) -> None:
    """Write a file that becomes the one at ``path`` once it is whole and on the disk."""
    mode = _mode(path)
    handle, new = mkstemp(dir=os.path.dirname(path), prefix=".saving-")  # readable for its owner only
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        if mode is not None:
            os.chmod(new, mode)
        os.replace(new, path)
    except BaseException:  # Ctrl-C, too
        with suppress(OSError):
            os.unlink(new)
        raise


def _mode(path: str) -> int | None:
    """Return the permissions of a file; ``None`` if there is none."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):  # such as /dev/stdout, which would be no device any more
        raise ValueError(f"can't save a conversation in {path!r}: expected a file, got something else")
    return stat.S_IMODE(mode)


def load_items(path: str | os.PathLike[str]) -> list[ev.Item]:
    """Read the file; see `Conversation.load`."""
    data = Path(path).read_bytes()
    try:
        return _saved(data).items
    except ValueError as error:
        raise ValueError(f"can't load a conversation from {os.fspath(path)!r}: {error}") from None


def _saved(data: bytes) -> Saved:
    value = _parsed(data)
    if not isinstance(value, dict):
        raise ValueError(f"{_EXPECTED}, got another JSON value")
    version, kind = value.get("realtime_sync"), value.get("kind")
    if type(version) is not int or kind != _KIND:
        raise ValueError(f"{_EXPECTED}, got {_shown(version)} and {_shown(kind)}")
    if version != _VERSION:
        newer = ", which a newer realtime_sync has saved" if version > _VERSION else ""
        raise ValueError(f"expected version {_VERSION} of the format, got {version}{newer}")
    return mend(Saved, value, _refuse)


def _parsed(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError, BufferError) as error:  # all that msgspec raises for content
        raise ValueError(f"expected JSON, got a file that is damaged or cut short ({error})") from None


def _shown(value: object) -> str:
    """Return a value of another's file, in which anything may be, as short as it can be shown."""
    return f"{value!r:.40}" if isinstance(value, str | int | float | None) else "something else"


def _refuse(path: str, problem: str) -> None:
    """Refuse a value that is not of its type: `mend` alone would lose it without a word."""
    raise ValueError(f"the file is damaged at {path.lstrip('.')!r}: {problem}")

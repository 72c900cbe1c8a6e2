"""Whether a server finds the ends of turns by itself."""

from msgspec import UNSET

from ..events import SessionConfig
from ..sound.formats import input_settings

__all__ = ["detects_turns"]


def detects_turns(config: SessionConfig | None) -> bool | None:
    """Return whether a server says that it detects turns; ``None`` = it doesn't say.

    Args:
        config: The session's settings as the server announced them, in either dialect.
    """
    sides = [side for side in (input_settings(config), config) if side is not None]
    said = [side.turn_detection for side in sides if side.turn_detection is not UNSET]
    return any(detection is not None for detection in said) if said else None

"""Build voice programs on a session: conversations, tools, audio, and the assistant that joins them."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; `__getattr__` does the same when a name is used
    from ..session.mirror import ConversationItem, ConversationPart, ConversationResponse
    from .assistant import Assistant, AudioInput
    from .audio import WavWriter, read_wav, stream_file, write_wav
    from .conversation import Conversation
    from .devices import Device, DeviceError, list_devices
    from .microphones import FileMicrophone, Microphone
    from .playback import Interruption, Playback
    from .speakers import AudioOutput, ClockedSpeaker, FileSpeaker, Speaker
    from .tool_runner import ToolResult, ToolRunner
    from .tools import ToolCall, Tools

__all__ = [
    "Assistant",
    "AudioInput",
    "AudioOutput",
    "ClockedSpeaker",
    "Conversation",
    "ConversationItem",
    "ConversationPart",
    "ConversationResponse",
    "Device",
    "DeviceError",
    "FileMicrophone",
    "FileSpeaker",
    "Interruption",
    "Microphone",
    "Playback",
    "Speaker",
    "ToolCall",
    "ToolResult",
    "ToolRunner",
    "Tools",
    "WavWriter",
    "list_devices",
    "read_wav",
    "stream_file",
    "write_wav",
]

# Where public names are defined.  Each of these imports those before it, or is quick to load, so looking
# through them in this order loads little in vain.
_HOMES = (
    "..session.mirror",
    ".conversation",
    ".tools",
    ".tool_runner",
    ".devices",
    ".audio",
    ".speakers",
    ".playback",
    ".microphones",
    ".assistant",
)


if not TYPE_CHECKING:  # a type checker would take any name for a right one

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first used: who needs a `Conversation` doesn't wait for the rest."""
        if name in __all__:
            modules = (importlib.import_module(home, __name__) for home in _HOMES)
            value = globals()[name] = next(
                getattr(module, name) for module in modules if hasattr(module, name)
            )
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

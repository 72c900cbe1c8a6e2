"""What people build on a session: conversations, tools, sound, and the assistant that joins them."""

from .assistant import Assistant, AudioInput
from .audio import WavWriter, read_wav, stream_file, write_wav
from .conversation import Conversation
from .devices import Device, DeviceError, list_devices
from .items import ConversationItem, ConversationPart, ConversationResponse
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

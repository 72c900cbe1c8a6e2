"""The rules of the house: imports point one way, the public list, what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import realtime_sync as rt
from realtime_sync import voice

PACKAGE = Path(rt.__file__).parent
ROOT = PACKAGE.parent

# Each may import those above it.
ORDER = [
    ["_version", "exceptions", "latest"],
    ["events.objects"],
    ["events.client", "events.server"],
    ["events"],
    ["mend", "visitor", "frames"],
    ["codec"],
    ["inbox", "link", "dial", "calls", "webhooks", "sound"],
    ["transport", "responses"],
    ["session", "endpoint"],
    ["rest"],
    ["client"],
    ["__init__"],
    ["voice.resampler", "voice.devices"],
    ["voice.conversion"],
    ["voice.wav"],
    ["voice.audio", "voice.signature", "voice.items"],
    ["voice.transcript", "voice.order"],
    ["voice.conversation", "voice.tools", "voice.speakers"],
    ["voice.playback", "voice.microphones", "voice.tool_runner"],
    ["voice.assistant"],
    ["voice"],
    ["local.ids", "local.responders", "local.speech", "local.transcribers"],
    ["local.refusal", "local.settings", "local.vad", "local.writers"],
    ["local.beta", "local.checks", "local.history", "local.setting_checks", "local.input_buffer"],
    ["local.meter", "local.listing", "local.transcription"],
    ["local.answer"],
    ["local.jobs"],
    ["local.conversation", "local.translation"],
    ["local.protocol"],
    ["local.http_answer"],
    ["local.calls", "local.credentials", "local.bodies"],
    ["local.api", "local.faults", "local.observer", "local.websocket"],
    ["local.loop"],
    ["local.server"],
    ["local"],
    ["testing.readable", "testing.record"],
    ["testing.dialogue"],
    ["testing.server"],
    ["testing"],
    ["commands.screen", "commands.opening", "commands.sound_files"],
    ["commands.cues"],
    ["commands.turns"],
    ["commands.chat", "commands.serve", "commands.talk", "commands.transcribe"],
    ["commands"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    parts = list(file.relative_to(PACKAGE).with_suffix("").parts)
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def imports_of(file: Path) -> set[str]:
    """The modules of ours that a file imports, at its top or later, named as in `ORDER`."""
    package = name_of(file).split(".") if file.name == "__init__.py" else name_of(file).split(".")[:-1]
    package = [] if package == ["__init__"] else package
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
            base = [part for part in base if part]
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                found.add(whole if whole in RANK else ".".join(base) or "__init__")
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            assert not any(name.split(".")[0] == "realtime_sync" for name in names), (
                f"{file}: import relatively"
            )
    return found


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_one_way(file: Path) -> None:
    """A module imports only what is below it in the house."""
    name = name_of(file)
    assert name in RANK, "say where the new module belongs"
    upward = {other for other in imports_of(file) if RANK[other] >= RANK[name]}
    assert not upward


@pytest.mark.parametrize(
    ("module", "only"),
    [
        ("websocket", {"transport"}),
        ("requests", {"rest"}),
        ("python_socks", {"dial"}),
        ("werkzeug", {"local.server"}),
        ("wsproto", {"local.websocket"}),
        ("numpy", {"voice.resampler"}),
        ("soxr", {"voice.resampler"}),
        ("sounddevice", {"voice.devices"}),
        ("tqdm", {"voice.audio"}),
        ("asyncio", set()),
        ("flask", set()),
        ("pytest", set()),
    ],
)
def test_each_library_has_its_place(module: str, only: set[str]) -> None:
    """A library is known to one file, so that it can be understood and replaced there."""
    users = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            if any(name.split(".")[0] == module for name in names):
                users.add(name_of(file))
    assert users == only


def test_import_is_light() -> None:
    """``import realtime_sync`` loads nothing optional, nor what only some programs need."""
    code = "import sys, realtime_sync; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    heavy = {"requests", "werkzeug", "wsproto", "asyncio", "numpy"}
    assert heavy.isdisjoint(loaded)
    assert not [name for name in loaded if name.startswith(("realtime_sync.local", "realtime_sync.voice"))]


def test_voice_needs_no_extra() -> None:
    """``import realtime_sync.voice`` loads nothing optional: each part asks for what it needs when used."""
    code = "import sys, realtime_sync.voice; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert {"requests", "werkzeug", "numpy", "soxr", "sounddevice", "tqdm"}.isdisjoint(loaded)


def test_public_list() -> None:
    """The public names are these; adding or removing one is a decision."""
    assert sorted(rt.__all__) == [
        "APIConnectionError", "APIError", "APITimeoutError", "AuthenticationError", "BadRequestError",
        "Client", "ClientEvent", "ConflictError", "ConnectionClosed", "ConnectionFailed", "Deviation",
        "InvalidWebhookSignature", "NotFoundError", "PermissionDeniedError", "ProtocolError",
        "RateLimitError", "RealtimeError", "ServerError", "ServerEvent", "Session", "Stats",
        "UnknownEvent", "UnknownObject", "Visitor", "Visitors", "__version__", "connect", "decode",
        "decode_client", "encode", "events", "webhooks",
    ]  # fmt: skip
    assert all(hasattr(rt, name) for name in rt.__all__)


@pytest.mark.parametrize("name", sorted(set(rt.__all__) - {"__version__"}))
def test_public_things_are_documented(name: str) -> None:
    """Everything public has a docstring, and so has each of its public methods."""
    thing = getattr(rt, name)
    assert thing.__doc__
    if isinstance(thing, type):
        for attribute, value in vars(thing).items():
            if callable(value) and not attribute.startswith("_"):
                assert value.__doc__, f"{name}.{attribute}"


def test_public_list_of_voice() -> None:
    """The public names of the voice layer are these."""
    assert sorted(voice.__all__) == [
        "Assistant", "AudioInput", "AudioOutput", "ClockedSpeaker", "Conversation", "ConversationItem",
        "ConversationPart", "ConversationResponse", "Device", "DeviceError", "FileMicrophone", "FileSpeaker",
        "Interruption", "Microphone", "Playback", "Speaker", "ToolCall", "ToolResult", "ToolRunner", "Tools",
        "WavWriter", "list_devices", "read_wav", "stream_file", "write_wav",
    ]  # fmt: skip


@pytest.mark.parametrize("name", voice.__all__)
def test_public_things_of_voice_are_documented(name: str) -> None:
    """Everything public there has a docstring, and so has each of its public methods."""
    thing = getattr(voice, name)
    assert thing.__doc__
    for attribute, value in vars(thing).items() if isinstance(thing, type) else ():
        if not attribute.startswith("_") and (callable(value) or isinstance(value, property)):
            assert value.__doc__, f"{name}.{attribute}"


def test_typed() -> None:
    """The package says that it is typed."""
    assert (PACKAGE / "py.typed").exists()

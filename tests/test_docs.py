"""What README and docs say is run as it is written: code, commands, tables, links, the reference.

How a page is read:

* The ``python`` blocks of a page are one program, run in order against a local server that the environment
  names.  A ``text`` block right behind one is what it prints.
* A comment ``<!-- test`` ... ``-->`` is code that belongs to the program and that readers don't see.
* A page with functions ``test_*`` is a test file: pytest runs it.
* The commands of ``sh`` blocks are known, and their options exist.
* Each block names its language.  Blocks in other languages are not run.
"""

import builtins
import contextlib
import inspect
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fake_devices import Fake, Stream
from scripted import CREATED, DEADLINE, Caller, ScriptedServer

import realtime_sync as rt
from realtime_sync import exceptions, local, testing, voice, webhooks
from realtime_sync.cli.main import main
from realtime_sync.events import CLIENT_EVENTS, SERVER_EVENTS, objects
from realtime_sync.events import client as client_events
from realtime_sync.events import server as server_events
from realtime_sync.local import LocalServer, faults
from realtime_sync.local.options import LocalServerOptions
from realtime_sync.options import AzureOptions, Options
from realtime_sync.rest import resources
from realtime_sync.session import namespaces
from realtime_sync.voice import audio

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = ("chat", "talk", "transcribe", "serve")
LONGEST_SESSION = 20.0  # seconds, after which a loop that would not end is ended by the server

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


# --- Blocks ------------------------------------------------------------------------------------------


@dataclass
class Block:
    """A block of a page, or a comment that is run.  ``behind`` = directly behind the one before."""

    language: str
    text: str
    line: int
    behind: bool


_FENCED = r"^(?P<indent> *)(?P<fence>```+|:::+)(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)(?P=fence) *$"
_HIDDEN = r"^<!-- test\n(?P<hidden>.*?)^-->$"
_BLOCK = re.compile(f"{_FENCED}|{_HIDDEN}", re.MULTILINE | re.DOTALL)


def blocks_of(page: Path) -> list[Block]:
    text, blocks, end = page.read_text("utf-8"), [], 0
    for found in _BLOCK.finditer(text):
        hidden = found["hidden"] is not None
        language = "python" if hidden else found["language"].strip()
        body = textwrap.dedent(found["hidden"] if hidden else found["text"])
        line = text.count("\n", 0, found.start()) + 2
        blocks.append(Block(language, body, line, behind=not text[end : found.start()].strip()))
        end = found.end()
    return blocks


def prose_of(page: Path) -> str:
    return _BLOCK.sub("", page.read_text("utf-8"))


@each_page
def test_languages(page: Path) -> None:
    """Each block says what it is: nothing is left out of the tests by forgetting to name it."""
    known = {"python", "sh", "sh run", "sh test", "text", "json", "toml", "ini", "yaml", "java", "pycon"}
    for block in blocks_of(page):
        assert block.language in known or block.language.startswith("{"), f"{page.name}:{block.line}"
        if block.language == "json":
            json.loads(block.text)


# --- Python ------------------------------------------------------------------------------------------


class Stage:
    """What the code of a page meets: a local server that the environment names, a microphone and a speaker.

    The devices are made up.  A user asks a question as soon as the microphone is on, and when that is
    answered the server goes away, so that an assistant that would run for ever ends.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._environment = monkeypatch
        self._answered = threading.Event()
        self._server = LocalServer(lifetime=LONGEST_SESSION, observer=self)
        self._gone: threading.Thread | None = None
        self.over = threading.Event()
        monkeypatch.setitem(sys.modules, "sounddevice", Room(self))
        self._listen()

    def begin(self) -> None:
        """Be there again, for the next block of the page, if a microphone was used."""
        if self._gone is not None:
            self._gone.join(DEADLINE)
            self._gone = None
            self._listen()

    def _listen(self) -> None:
        self._server.start()
        self._environment.setenv("OPENAI_BASE_URL", self._server.http_url)
        self._environment.setenv("OPENAI_API_KEY", "sk-of-the-docs")

    def end(self) -> None:
        self.over.set()
        if self._gone is not None:
            self._gone.join(DEADLINE)
        self._server.stop()

    def hang_up_when_answered(self) -> None:
        self._answered.clear()
        self._gone = threading.Thread(target=self._hang_up)
        self._gone.start()

    def _hang_up(self) -> None:
        self._answered.wait(DEADLINE)
        self._server.stop()

    def opened(self, session: str) -> None: ...

    def received(self, session: str, frame: str | bytes) -> None: ...

    def sent(self, session: str, frame: str) -> None:
        event = rt.decode(frame)
        if isinstance(event, rt.events.ResponseDone) and event.response.status == "completed":
            self._answered.set()

    def closed(self, session: str, code: int, reason: str) -> None: ...


class Room(Fake):
    """The devices of a page."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def RawInputStream(self, **options: Any) -> Stream:  # noqa: N802  # its name there
        return User(self, self._stage, **options)

    def RawOutputStream(self, **options: Any) -> Stream:  # noqa: N802  # its name there
        return Loudspeaker(self, self._stage, **options)


class Loudspeaker(Stream):
    """A speaker that plays as a device does, until the page is over."""

    def __init__(self, module: Fake, stage: Stage, **options: Any) -> None:
        super().__init__(module, **options)
        self._over = stage.over
        # Held while it plays, so that it is not stopped in the middle.
        self._playing = threading.Lock()

    def start(self) -> None:
        super().start()
        # Asks for the next samples in time, as PortAudio's own thread does.
        threading.Thread(target=self._play, daemon=True).start()

    def stop(self) -> None:
        with self._playing:
            super().stop()

    def _play(self) -> None:
        while not self._over.wait(0.05):
            with self._playing:
                if not self.running:
                    return
                self.play(1200)


class User(Stream):
    """A microphone into which a user speaks."""

    def __init__(self, module: Fake, stage: Stage, **options: Any) -> None:
        super().__init__(module, **options)
        self._stage = stage

    def start(self) -> None:
        super().start()
        self._stage.hang_up_when_answered()
        question = audio.read_wav(ROOT / "tests" / "data" / "question.wav") + audio.silence(0.6)
        for block in audio.chunks(question, ms=20):
            self.hear(block)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stage]:
    """A local server, devices, and a folder to work in with a file of speech."""
    shutil.copy(ROOT / "tests" / "data" / "question.wav", tmp_path)
    monkeypatch.chdir(tmp_path)
    stage = Stage(monkeypatch)
    yield stage
    stage.end()


def program_of(page: Path) -> list[tuple[Block, str | None]]:
    """The Python of a page, each block with what it prints, if the page says so."""
    blocks = blocks_of(page)
    following = [*blocks, None][1:]
    return [
        (block, after.text if after and after.language == "text" and after.behind else None)
        for block, after in zip(blocks, following, strict=True)
        if block.language == "python"
    ]


def is_tests(page: Path) -> bool:
    return any(re.search(r"^def test_", block.text, re.MULTILINE) for block, _ in program_of(page))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if program_of(page) and not is_tests(page)], ids=lambda page: page.stem
)
def test_code(page: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of a page runs against a local server, and prints what the page says."""
    module = ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block, prints in program_of(page):
        stage.begin()
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, vars(module))
        if prints is not None:
            assert printed.getvalue().strip() == prints.strip(), f"{page.name}:{block.line}"


@pytest.mark.parametrize("page", [page for page in PAGES if is_tests(page)], ids=lambda page: page.stem)
def test_tests(page: Path, stage: Stage, tmp_path: Path) -> None:
    """A page of tests passes as a test file."""
    file = tmp_path / f"test_{page.stem}.py"
    file.write_text("\n\n".join(block.text for block, _ in program_of(page)), "utf-8")
    path = os.pathsep.join([str(ROOT), str(ROOT / "examples")])
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "realtime_sync.testing", file.name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


# --- Commands ----------------------------------------------------------------------------------------

OTHERS = {
    "apt",
    "brew",
    "cd",
    "export",
    "ffmpeg",
    "flask",
    "git",
    "pytest",
    "arecord",
    "sox",
    "curl",
    "ruff",
    "mypy",
    "ollama",
}
"""Programs in pages that are not ours; what they are told is not looked at."""


def commands_of(text: str) -> Iterator[list[str]]:
    """The commands of a shell block, as words; without prompts, redirections and variables."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars="|&;<>\n")
    lexer.whitespace, lexer.whitespace_split = " \t", True
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("|&;\n"):
            if words:
                yield words
            words = []
        elif not (not words and (word == "$" or re.fullmatch(r"[A-Z_]+=.*", word))):
            words.append(word)
    if words:
        yield words


def extras() -> set[str]:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return set(setup["options.extras_require"])


def check_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a command can be run: its script is there, its options exist."""
    program = words[0].rpartition("/")[2]
    if program in ("python", "python3") and words[1] == "-m":
        program, words = words[2], words[2:]
    if program == "python":
        assert (ROOT / words[1]).exists(), words
    elif program in ("realtime-sync", "realtime_sync"):
        check_own_command(words[1:], capsys)
    elif program == "pip":
        named = {
            name for word in words for extra in re.findall(r"\[(.*)\]", word) for name in extra.split(",")
        }
        assert named <= extras(), words
        assert "realtime-sync" not in " ".join(words), "it is not on PyPI"
    else:
        assert program in OTHERS | {"venv", "coverage", "sphinx"}, words


def check_own_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Let the command line's parser read it; with ``--help`` behind it, it does nothing else."""
    words = [word for word in words if word not in "<>"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in said.out.split() or f"{word}," in said.out, word


@each_page
def test_commands(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command of a page is one there is, with options that it has."""
    for block in blocks_of(page):
        if block.language.split(" ")[0] == "sh":
            for words in commands_of(block.text):
                check_command(words, capsys)


def test_first_commands() -> None:
    """The two commands of the first page are one line each, and ask for extras that there are."""
    languages = [block.language for block in blocks_of(README)]
    assert (languages.count("sh run"), languages.count("sh test")) == (1, 1)
    for block in blocks_of(README):
        if block.language in ("sh run", "sh test"):
            assert block.text.count("\n") == 1
            assert block.text.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")


def test_first_page_is_short() -> None:
    """The first page is one that people read to its end."""
    assert len(README.read_text("utf-8").splitlines()) <= 130


# --- Links -------------------------------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@each_page
def test_links(page: Path) -> None:
    """Every file that a page links to is there, and so is the heading in it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = page.parent / target if target else page
        assert file.exists(), link
        assert not anchor or anchor in anchors_of(file), link


PROMISES = re.findall(
    r"`((?:[a-z_]+/)*test_[a-z_]+\.py)(?:::(\w+))?`", (ROOT / "docs/security.md").read_text()
)


@pytest.mark.parametrize(("file", "name"), PROMISES, ids=["-".join(promise) for promise in PROMISES])
def test_promises_are_held(file: str, name: str) -> None:
    """Each test that holds a promise of security is there."""
    assert f"def {name}" in (ROOT / "tests" / file).read_text()


def test_all_pages_are_listed() -> None:
    """The table of contents names every page, and no other."""
    listed = [
        name
        for block in blocks_of(ROOT / "docs" / "index.md")
        if block.language == "{toctree}"
        for name in block.text.splitlines()
        if name and not name.startswith(":")
    ]
    assert sorted([*listed, "index"]) == [page.stem for page in PAGES if page != README]


# --- Tables ------------------------------------------------------------------------------------------


def tables_of(page: Path) -> Iterator[list[list[str]]]:
    """The tables of a page: rows of cells, the first of them the headings."""
    for table in re.findall(r"(?:^ *\|.*\n)+", prose_of(page) + "\n", re.MULTILINE):
        rows = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]
            for row in table.splitlines()
        ]
        yield [rows[0], *rows[2:]]


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The rows of the tables of a page whose first heading is this."""
    tables = [table[1:] for table in tables_of(ROOT / "docs" / page) if table[0][0] == heading]
    assert tables, heading
    return [row for table in tables for row in table]


def codes_of(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


MODULES = [
    builtins,
    rt,
    rt.events,
    exceptions,
    webhooks,
    voice,
    audio,
    local,
    faults,
    testing,
    resources,
    namespaces,
]
FOREIGN = re.compile(r"openai|websocket|java|was|before|today|theirs", re.IGNORECASE)
"""In the heading of a column that is about another library."""


def parameters() -> set[str]:
    """The names of all arguments and fields of what is public."""
    names = {*Options.__annotations__, *AzureOptions.__annotations__, *LocalServerOptions.__annotations__}
    for module in MODULES[1:]:
        for value in [getattr(module, name) for name in getattr(module, "__all__", vars(module))]:
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            for function in [value, *(vars(value).values() if inspect.isclass(value) else [])]:
                function = getattr(function, "__func__", function)
                with contextlib.suppress(TypeError, ValueError):
                    names |= set(inspect.signature(function).parameters)
            names |= set(getattr(value, "__annotations__", {}))
    return names


PARAMETERS = parameters()
ROOTS = {tag.partition(".")[0] for tag in (*SERVER_EVENTS, *CLIENT_EVENTS) if "." in tag}


def exists(code: str, helps: str) -> bool:
    """Whether what a table names is there; true for what is no name."""
    if re.fullmatch(r"--[a-z-]+", code):
        return code in re.findall(r"--[a-z-]+", helps)
    if re.fullmatch(r"[a-z_]+=", code):
        return code[:-1] in PARAMETERS
    if re.fullmatch(r"(rt\.|events\.|voice\.)*[A-Z][a-z]+[A-Za-z]*(\(\))?", code):
        return any(hasattr(module, code.rpartition(".")[2].removesuffix("()")) for module in MODULES)
    if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", code) and code.partition(".")[0] in ROOTS:
        if code.endswith(".py"):
            return True
        return code in SERVER_EVENTS or code in CLIENT_EVENTS or reaches(rt.Session, code)
    if re.fullmatch(r"visit_[a-z_]+", code):
        return hasattr(rt.Visitor, code)
    return True


def reaches(owner: Any, code: str) -> bool:
    """Whether ``session.a.b`` is an attribute, looking through the types of properties."""
    for name in code.removeprefix("session.").split("."):
        value = getattr(owner, name, None)
        if value is None:
            return False
        if isinstance(value, property):
            result = value.fget.__annotations__.get("return")
            owner = getattr(namespaces, result, None) if isinstance(result, str) else result
        else:
            owner = value
    return True


@each_page
def test_tables(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every option, flag, exception, fault and event that a table names is there."""
    helps = ""
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        helps += capsys.readouterr().out
    helps += " --help --version"
    for table in tables_of(page):
        for row in table[1:]:
            for heading, cell in zip(table[0], row, strict=True):
                for code in [] if FOREIGN.search(heading) else codes_of(cell):
                    assert exists(code, helps), f"{page.name}: {code}"


CALLS = {line: target for target, cell in rows_of("connecting.md", "Connect to") for line in codes_of(cell)}
OWN, AZURE, GIVEN, SECRET = "sk-test-own", "sk-test-azure", "sk-test-given", "ek_test_readme"
REQUESTS = {
    "OpenAI": ("/v1/realtime?model=gpt-realtime-2.1", OWN),
    "Azure OpenAI": ("/openai/v1/realtime?model=my-deployment", AZURE),
    "Azure OpenAI, preview API": (
        "/openai/realtime?api-version=2025-04-01-preview&deployment=my-deployment",
        AZURE,
    ),
    "an OpenAI-compatible server": ("/v1/realtime?model=some-model", GIVEN),
    "one that speaks the older Beta form": ("/v1/realtime?model=some-model", GIVEN),
    "a phone call": ("/v1/realtime?call_id=rtc_1", OWN),
    "a session that only transcribes": ("/v1/realtime?intent=transcription", OWN),
    "a session that translates": ("/v1/realtime/translations?model=gpt-realtime-translate", OWN),
    "any of them, with an ephemeral secret": ("/v1/realtime", SECRET),
}
"""What each line asks for, and the key it shows."""


@pytest.mark.parametrize(("line", "target"), CALLS.items(), ids=CALLS)
def test_connect_to(line: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of the table opens a session, with a server that stands in for the one it names."""
    requests: list[str] = []

    def script(caller: Caller) -> None:
        caller.accept()
        requests.append(caller.request.decode())
        caller.text(CREATED)
        caller.serve_until_closed()

    with ScriptedServer(script) as stand_in, LocalServer() as server:
        monkeypatch.setenv("OPENAI_API_KEY", OWN)
        monkeypatch.setenv("OPENAI_BASE_URL", stand_in.url)
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", stand_in.url.removesuffix("/v1"))
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", AZURE)
        names: dict[str, Any] = {
            "rt": rt,
            "url": stand_in.url,
            "key": GIVEN,
            "call_id": "rtc_1",
            "secret": SimpleNamespace(value=SECRET),
            "server": server,
            "port": server.port,
        }
        with eval(line, names) as session:
            assert session.config is not None
    if target == "the local server":
        assert session.id.startswith("sess_")
        return
    [request] = requests
    path, key = REQUESTS[target]
    assert request.startswith(f"GET {path} HTTP/1.1\r\n")
    assert key in request
    assert ("OpenAI-Beta" in request) == ("Beta" in target)


def test_all_options_are_told() -> None:
    """The tables of options name each option of `Client` and `connect`."""
    told = {code for row in rows_of("connecting.md", "Option") for code in codes_of(row[0])}
    assert told == {f"{name}=" for name in Options.__annotations__}


@pytest.mark.parametrize("cells", rows_of("local_server.md", "`--fault`"), ids=lambda cells: cells[0])
def test_faults(cells: list[str]) -> None:
    """Both spellings of a fault mean the same."""
    [text], [code] = codes_of(cells[0]), codes_of(cells[1])
    parsed = faults.parse(text.replace("message=...", "message=No."))
    made = eval(code, vars(faults))
    assert type(parsed) is type(made)
    if "..." not in text:
        assert parsed == made


def test_all_faults_are_told() -> None:
    """The table of faults names each of them."""
    told = {
        code.partition("(")[0] for row in rows_of("local_server.md", "`--fault`") for code in codes_of(row[1])
    }
    kinds = {name for name in faults.__all__ if inspect.isclass(getattr(faults, name))}
    assert told == kinds - {"Fault"}


# --- The reference -----------------------------------------------------------------------------------


def reference() -> tuple[set[str], dict[str, set[str]]]:
    """What the reference names by itself, and the modules it names, each with what it leaves out."""
    single: set[str] = set()
    modules: dict[str, set[str]] = {}
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    single |= set(re.findall(r"^\.\. py:data:: ([\w.]+)", text, re.MULTILINE))
    for kind, name, options in re.findall(
        r"^\.\. auto(\w+):: ([\w.]+).*\n((?:   :.*\n)*)", text, re.MULTILINE
    ):
        if kind == "module":
            assert ":members:" in options
            left_out = re.findall(r":exclude-members: (.*)", options)
            modules[name] = set(left_out[0].split(", ")) if left_out else set()
        else:
            single.add(name)
    return single, modules


PUBLIC = [
    rt,
    client_events,
    server_events,
    objects,
    namespaces,
    resources,
    webhooks,
    voice,
    audio,
    local,
    faults,
    testing,
]


def home_of(value: Any, name: str) -> str:
    """The same for all names of one class or function."""
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', name)}"


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_reference(module: Any) -> None:
    """The reference is complete: each public name is in it, by itself or with its module."""
    single, modules = reference()
    known = {home_of(resolve(name), name.rpartition(".")[2]) for name in single}
    for name, left_out in modules.items():
        for part in getattr(resolve(name), "__all__", ()):
            if part not in left_out:
                value = getattr(resolve(name), part)
                if inspect.isclass(value) or inspect.isfunction(value):  # others need a line of their own
                    known.add(home_of(value, part))
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.ismodule(value):
            assert any(each == value.__name__ or each.startswith(f"{value.__name__}.") for each in modules)
        elif name == "session_config":
            continue  # for the other modules of the package
        elif inspect.isclass(value) or inspect.isfunction(value):
            assert home_of(value, name) in known, name
            assert inspect.getdoc(value), name
        else:
            assert any(each.rpartition(".")[2] == name for each in single), name


def resolve(name: str) -> Any:
    """What a dotted name of the reference means."""
    value: Any = rt
    parts = name.split(".")
    assert parts[0] == "realtime_sync"
    for end, part in enumerate(parts[1:], 2):
        if not hasattr(value, part):
            __import__(".".join(parts[:end]))
        value = getattr(value, part)
    return value


def test_code_is_not_too_wide() -> None:
    """Code fits into a page without a scroll bar, more or less."""
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "python":
                assert max(map(len, block.text.splitlines())) <= 110, f"{page.name}:{block.line}"

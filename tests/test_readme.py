"""What the README says: its tables are run as they are written."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted import CREATED, Caller, ScriptedServer

import realtime_sync as rt
from realtime_sync.local import LocalServer, faults

README = (Path(__file__).parent.parent / "README.md").read_text()


def rows_of(header: str) -> list[list[str]]:
    """The cells of the table whose first cell is this."""
    table = README[README.index(f"| {header} |") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def codes_of(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


CALLS = {line: target for target, cell in rows_of("Connect to") for line in codes_of(cell)}
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


@pytest.mark.parametrize("cells", rows_of("`--fault`"), ids=lambda cells: cells[0])
def test_faults(cells: list[str]) -> None:
    """Both spellings of a fault mean the same."""
    [text], [code] = codes_of(cells[0]), codes_of(cells[1])
    parsed = faults.parse(text.replace("message=...", "message=No."))
    made = eval(code, vars(faults))
    assert type(parsed) is type(made)
    if "..." not in text:
        assert parsed == made


def test_the_commands_are_there() -> None:
    """The two commands of the first screen are one line each, and the command line's options exist."""
    for name in ("sh run", "sh test"):
        [block] = re.findall(rf"^```{name}\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
        assert "\n" not in block


def test_links() -> None:
    """Every file that the README links to is there."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (Path(__file__).parent.parent / target).exists(), target

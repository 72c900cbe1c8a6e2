"""``serve``: the local server, until Ctrl-C."""

import logging
import signal
import ssl
from pathlib import Path

import pytest
import trustme
from chat_endpoint import ChatEndpoint, chunk, streamed
from command import TIMEOUT, AtTerminal, call, served, start
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from scripted import ScriptedServer

import realtime_sync as rt


def test_serve() -> None:
    """The program prints its address and nothing else, serves, and stops cleanly when it is terminated."""
    process = start("serve", "--port", "0")
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("ws://127.0.0.1:")
    with rt.connect(base_url=url) as session:
        assert session.id
    process.terminate()
    assert process.communicate(timeout=TIMEOUT) == ("", "")
    assert process.returncode == 0


def test_at_a_terminal() -> None:
    """At a terminal it tells how to use it; Ctrl-C ends it."""
    serve = AtTerminal("serve", "--port", "0", "--no-speech")
    serve.wait_for("Ctrl-C stops it.\n")
    serve.process.send_signal(signal.SIGINT)
    status, shown = serve.end()
    assert (status, shown.splitlines()[1:]) == (
        0,
        ["No key is needed.  Use it as base_url; Ctrl-C stops it."],
    )


def test_ctrl_c() -> None:
    """Ctrl-C ends it in any program, and what handles signals is as it was."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    urls: list[str] = []
    status, out = served(urls.append)
    assert (status, out) == (0, f"{urls[0]}\n")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with pytest.raises(rt.ConnectionFailed):
        rt.connect(base_url=urls[0])


@pytest.mark.parametrize("asked", ["", "-v"])
def test_what_goes_wrong_inside(capsys: pytest.CaptureFixture[str], asked: str) -> None:
    """What fails inside the server is told in a line each; the log, if it is asked for, has it once."""

    def fail(url: str) -> None:
        log = logging.getLogger("realtime_sync.local")
        try:
            raise ZeroDivisionError("a bug")
        except ZeroDivisionError:
            log.exception("a session\nfailed")
        log.warning("not so bad")
        logging.getLogger("realtime_sync").error("told by the command")

    before = list(logging.getLogger("realtime_sync.local").handlers)
    assert served(fail, *asked.split())[0] == 0
    assert logging.getLogger("realtime_sync.local").handlers == before
    err = capsys.readouterr().err
    assert err.count("ZeroDivisionError('a bug')") == (not asked)
    assert err.count("\nZeroDivisionError: a bug\n") == bool(asked)
    assert asked or err == "realtime-sync: a session\\nfailed: ZeroDivisionError('a bug')\n"


def only_with_the_key(url: str) -> None:
    rt.connect(base_url=url, api_key="sk-right").close()
    with pytest.raises(rt.ConnectionFailed) as failed:
        rt.connect(base_url=url, api_key="sk-wrong")
    assert failed.value.status == 401


def test_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A key from a file, from the environment or, with a warning, from an option admits only who has it."""
    file = tmp_path / "key.txt"
    file.write_text("sk-right\n")
    monkeypatch.setenv("REALTIME_SYNC_API_KEY", "sk-other")
    assert served(only_with_the_key, "--api-key-file", str(file))[0] == 0
    monkeypatch.setenv("REALTIME_SYNC_API_KEY", "sk-right")
    assert served(only_with_the_key)[0] == 0
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("REALTIME_SYNC_API_KEY")
    assert served(only_with_the_key, "--api-key", "sk-right")[0] == 0
    warning = capsys.readouterr().err
    assert len(warning.splitlines()) == 1
    assert "others can see --api-key in the list of processes" in warning
    assert "sk-right" not in warning


@pytest.mark.parametrize("text", ["", "\n", "sk-one sk-two\n", "sk-one\nsk-two\n", "sk-\u00fc"])
def test_a_file_without_a_key(text: str, tmp_path: Path) -> None:
    """A file that holds no key, more than one, or one that can't be sent: one line and status 2."""
    file = tmp_path / "key.txt"
    file.write_text(text, "utf-8")
    status, out, err = call("serve", "--port", "0", "--api-key-file", str(file))
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "key.txt: expected a key" in err
    assert "sk-" not in err


def test_pages_of_other_hosts() -> None:
    """Without a key, pages of this machine are let in, and those of hosts that are allowed."""

    def use(url: str) -> None:
        for origin in ("http://localhost:3000", "https://studio.example", "https://other.example"):
            rt.connect(base_url=url, headers={"Origin": origin}).close()

    for arguments, host in (([], "studio"), (["--allow-host", "studio.example"], "other")):
        with pytest.raises(rt.ConnectionFailed, match=f"https://{host}.example") as failed:
            served(use, *arguments)
        assert failed.value.status == 403


def test_faults() -> None:
    """`--fault` makes the server fail as described, also several times over, and the pace can be chosen."""

    def use(url: str) -> None:
        with pytest.raises(rt.ConnectionFailed) as failed:
            rt.connect(base_url=url)
        assert failed.value.status == 429
        with rt.connect(base_url=url) as session, pytest.raises(rt.ConnectionClosed) as closed:
            list(session)
        assert (closed.value.code, closed.value.reason) == (4000, "why not")

    faults = ["--fault", "refuse:times=1,status=429", "--fault", "close:events=1,code=4000,reason=why not"]
    assert served(use, "--realtime-pace", "--lifetime", "60", "--sunset-beta", *faults)[0] == 0


def test_a_model(tmp_path: Path) -> None:
    """`--chat` answers by a model behind an endpoint, with the key that it needs."""
    file = tmp_path / "key.txt"
    file.write_text("sk-of-the-endpoint\n")

    def use(url: str) -> None:
        with rt.connect(base_url=url) as session:
            session.response.create()
            done = session.run(rt.Visitor(), until=rt.events.ResponseDone)
            assert done
            assert done.response.status == "incomplete"

    with ChatEndpoint(streamed(chunk(finish="length"))) as endpoint:
        arguments = ["--chat", endpoint.url, "--chat-model", "a-model"]
        for key in ([], ["--chat-key-file", str(file)]):
            assert served(use, *arguments, *key)[0] == 0
    assert [each.body["model"] for each in endpoint.asked] == ["a-model", "a-model"]
    assert ["Bearer sk-of-the-endpoint" in each.head for each in endpoint.asked] == [False, True]


def test_lifetime() -> None:
    """`--lifetime` ends a session after so many seconds, as its time limit does."""

    def use(url: str) -> None:
        with rt.connect(base_url=url) as session, pytest.raises(rt.ConnectionClosed) as closed:
            list(session)
        assert closed.value.code == 1001
        assert closed.value.last_error is not None
        assert closed.value.last_error.error.code == "session_expired"

    assert served(use, "--lifetime", "0.2")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--api-key-file", "missing.txt"], "missing.txt: No such file"),
        (["--allow-host", "https://studio.example"], "expected names such as 'studio.example'"),
        (["--host", "0.0.0.0"], "other machines can connect"),
        (["--fault", "flood"], "close, drop, reset"),
        (["--fault", "close:code=4000"], "events="),
        (["--fault", "close:events=1,code=1"], "1000"),
        (["--fault", "delay:seconds"], "FIELD=VALUE"),
        (["--delay", "-1"], "delay"),
        (["--chat", "http://127.0.0.1:1/v1"], "--chat needs --chat-model"),
        (["--chat", "127.0.0.1:1", "--chat-model", "m"], "base_url must be like"),
        (["--chat-model", "m"], "need --chat"),
        (["--chat-key-file", "key.txt"], "need --chat"),
        (
            ["--chat", "http://127.0.0.1:1/v1", "--chat-model", "m", "--chat-key-file", "no.txt"],
            "no.txt: No such file",
        ),
    ],
)
def test_what_can_not_be_served(arguments: list[str], says: str) -> None:
    """A host that others can reach without a key, an unknown fault, half a model: one line and status 2."""
    status, out, err = call("serve", "--port", "0", *arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert says in err


def test_a_port_that_is_taken() -> None:
    """A port that is taken is one line and status 2."""
    with ScriptedServer(lambda caller: None) as server:
        status, out, err = call("serve", "--port", str(server.port))
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert f"127.0.0.1:{server.port}: " in err
    assert "in use" in err


# --- TLS ---------------------------------------------------------------------------------------------


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """The paths of a certificate, of its key, of both in one file, and of other keys."""
    names = ("cert", "key", "both", "other", "locked", "nothing", "missing")
    paths = {name: tmp_path / f"{name}.pem" for name in names}
    own, other = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.1")
    own.cert_chain_pems[0].write_to_path(paths["cert"])
    own.private_key_pem.write_to_path(paths["key"])
    own.private_key_and_cert_chain_pem.write_to_path(paths["both"])
    other.private_key_pem.write_to_path(paths["other"])
    paths["nothing"].write_text("Dear diary\n")
    key = load_pem_private_key(own.private_key_pem.bytes(), None)
    paths["locked"].write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    return {name: str(path) for name, path in paths.items()}


@pytest.mark.parametrize("given", [["--certfile", "cert", "--keyfile", "key"], ["--certfile", "both"]])
def test_tls(given: list[str], files: dict[str, str], client_tls: ssl.SSLContext) -> None:
    """With a certificate and its key, in one file or in two, it is https and wss, for whoever trusts it."""

    def use(url: str) -> None:
        assert url.startswith("https://127.0.0.1:")
        for address in (url, url.replace("https", "wss")):
            with rt.connect(base_url=address, ssl_context=client_tls) as session:
                assert session.id
        with pytest.raises(rt.ConnectionFailed, match="certificate"):
            rt.connect(base_url=url)
        with pytest.raises(rt.ConnectionFailed):
            rt.connect(base_url=url.replace("https", "http"))

    arguments = [files.get(argument, argument) for argument in given]
    assert served(use, *arguments)[0] == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--keyfile", "key"], "--keyfile needs --certfile"),
        (["--certfile", "missing", "--keyfile", "key"], "missing.pem: No such file"),
        (["--certfile", "cert", "--keyfile", "missing"], "missing.pem: No such file"),
        (["--certfile", "cert"], "expected a certificate and its private key"),
        (["--certfile", "nothing"], "expected a certificate and its private key"),
        (["--certfile", "cert", "--keyfile", "other"], "expected a certificate and its private key"),
        (["--certfile", "cert", "--keyfile", "locked"], "expected one without a password"),
    ],
)
def test_certificates_that_can_not_be_used(given: list[str], says: str, files: dict[str, str]) -> None:
    """A certificate without its key, the key of another, an encrypted one: one line and status 2."""
    status, out, err = call("serve", "--port", "0", *(files.get(argument, argument) for argument in given))
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert says in err

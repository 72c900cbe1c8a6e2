"""Talks whose connections are lost at random places: what each side knows in the end, and what is missing."""

import os
import ssl
from collections.abc import Iterator

import pytest
import trustme
from dropped_talk import DroppedTalk, Servers

from realtime_sync import reconnect

QUICK = range(20)
MANY = 10_000
SHARES = 50  # into which the many are divided, so that several workers have them


@pytest.fixture(scope="module")
def servers(authority: trustme.CA) -> Iterator[Servers]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Servers(context) as servers:
        yield servers


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions wait for a moment only before they try again."""
    monkeypatch.setattr(reconnect, "_FIRST_WAIT", 0.002)
    monkeypatch.setattr(reconnect, "_LONGEST_WAIT", 0.02)


@pytest.mark.parametrize("seed", QUICK)
def test_a_talk(seed: int, servers: Servers, client_tls: ssl.SSLContext) -> None:
    """Nothing of a talk is lost unsaid, and nothing is there twice, wherever its connections break."""
    DroppedTalk(seed, servers, client_tls).run()


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_many_talks(share: int, servers: Servers, client_tls: ssl.SSLContext) -> None:
    """The same for ten thousand talks; TALKS in the environment is another number of them."""
    many = range(int(os.environ.get("TALKS", MANY)))
    for seed in many[share::SHARES]:
        talk = DroppedTalk(seed, servers, client_tls)
        try:
            talk.run()
        except BaseException as error:
            raise AssertionError(f"{talk!r} failed: {error}") from error

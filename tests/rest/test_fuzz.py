"""The HTTP half against servers that answer anything."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random

import pytest
from canary import Memory
from fuzz import Faults, fuzz
from hostile_server import HostileServer
from http_api import BETA, CREATED, OFFER, read_http
from mutations import bent, broken, chopped, encoded
from scripted import Caller

import realtime_sync as rt

QUICK = 40  # answers, in the default run
TIMEOUT = 10.0  # seconds; the server has long hung up then

CALLS: list[Callable[[rt.Client], object]] = [
    lambda client: client.client_secrets.create(),
    lambda client: client.translations.client_secrets.create("m"),
    lambda client: client.sessions.create(),
    lambda client: client.calls.create(OFFER),
    lambda client: client.calls.accept("c", session={"type": "realtime"}),
    lambda client: client.calls.hangup("c"),
]
SECRET = {"value": "not secret", "expires_at": 7}  # what is bent would not be recognised as a secret
BODIES = [
    {**CREATED, **SECRET},
    {**BETA, "client_secret": SECRET},
    {"error": {"message": "No.", "type": "t", "code": "c", "param": "p"}},
    {},
]
HEADS = ["Content-Type: application/json", "x-request-id: req_1", "Retry-After: 1", "Set-Cookie: a=b"]
HEADS += [
    "Content-Encoding: gzip",
    "Location: /v1/realtime/calls/rtc_1",
    "Location: //[",
    "Connection: close",
]


@dataclass(frozen=True)
class Answer:
    """What a server answers to which request, part by part."""

    call: int
    parts: list[bytes]

    def __call__(self, caller: Caller) -> None:
        read_http(caller)
        for part in self.parts:
            caller.raw(part)


def any_answer(draw: Random) -> Answer:
    status = draw.choice(("200 OK", "201 Created", "400 Bad", "401 No", "404", "409 C", "429 Wait", "500 Oh"))
    body = draw.choice((_json, _json, _json, _sdp))(draw)
    heads = "".join(f"{head}\r\n" for head in draw.sample(HEADS, draw.randrange(4)))
    way, data = draw.choice((_whole, _whole, _in_chunks, _to_the_end))(body, draw)
    answer = f"HTTP/1.1 {status}\r\n{heads}{way}\r\n".encode() + data
    return Answer(
        draw.randrange(len(CALLS)), chopped(broken(answer, draw) if draw.random() < 0.6 else answer, draw)
    )


def _json(draw: Random) -> bytes:
    return encoded(bent(json.loads(json.dumps(draw.choice(BODIES))), draw), draw)


def _sdp(draw: Random) -> bytes:
    return broken(OFFER.encode(), draw)


def _whole(body: bytes, draw: Random) -> tuple[str, bytes]:
    return f"Content-Length: {draw.choice((len(body), len(body), len(body) + 5, 0, -1, 10**18))}\r\n", body


def _in_chunks(body: bytes, draw: Random) -> tuple[str, bytes]:
    parts = [part for part in chopped(body, draw) if part]
    return (
        "Transfer-Encoding: chunked\r\n",
        b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n",
    )


def _to_the_end(body: bytes, draw: Random) -> tuple[str, bytes]:
    return "", body


def asked(server: HostileServer, faults: Faults, memory: Memory, given: Answer) -> None:
    """Ask: an answer or an `APIError` comes, and nothing else."""
    server.prepare(given)
    client = rt.Client(api_key="any", base_url=server.url, max_retries=0, timeout=TIMEOUT)
    try:
        repr(CALLS[given.call](client))
    except rt.APIError as error:
        f"{error} {error!r} {error.fatal} {error.retry_after}"
    finally:
        client.close()
    faults.check()
    memory.look()


@pytest.fixture
def faults() -> Iterator[Faults]:
    with Faults.watched("realtime_sync", "urllib3.connectionpool", "urllib3.connection") as faults:
        yield faults


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


def test_hostile_answers(server: HostileServer, faults: Faults) -> None:
    """Whatever a server answers, a request gives what it is documented to give, or an `APIError`."""
    fuzz(any_answer, partial(asked, server, faults, Memory()), QUICK)


@pytest.mark.slow
def test_hostile_answers_for_minutes(server: HostileServer, faults: Faults) -> None:
    """So it is with many more, for minutes, without filling the memory."""
    fuzz(any_answer, partial(asked, server, faults, Memory()))

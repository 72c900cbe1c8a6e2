"""The HTTP half as tests see it: OpenAI's answers, pauses that take no time, errors that hold no secret."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from scripted import Caller, Script
from secrets_watch import API_KEY, CLIENT_SECRET, PROXY_LOGIN, PROXY_PASSWORD, PROXY_TOKEN, secrets_in
from silence import held_by

import realtime_sync as rt
from realtime_sync.rest.requester import Requester
from realtime_sync.rest.resources import Rest

URL = "https://api.openai.com/v1/realtime"
SECRETS = f"{URL}/client_secrets"
SESSION = {"type": "realtime", "object": "realtime.session", "id": "sess_1", "model": "m"}
CREATED = {"value": CLIENT_SECRET, "expires_at": 1756310470, "session": SESSION}
BETA = {"id": "sess_1", "voice": "ash", "client_secret": {"value": CLIENT_SECRET, "expires_at": 7}}
OFFER = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\n"
SHOWN_IN_LOGS = (API_KEY, CLIENT_SECRET, PROXY_PASSWORD, PROXY_LOGIN, PROXY_TOKEN)


class Tries:
    """The pauses between tries, which take no time."""

    def __init__(self, random: float = 0.0) -> None:
        self.pauses: list[float] = []
        self.interrupted = False
        self._random = random

    def rest(self, max_retries: int = 2, **options: Any) -> Rest:
        client = rt.Client(**{"api_key": API_KEY, **options})
        return Rest(
            Requester(
                client._endpoint,
                max_retries=max_retries,
                sleep=self._pause,
                random=lambda: self._random,
            )
        )

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.interrupted:
            raise KeyboardInterrupt


Open = Callable[..., rt.Client]


def failure(kind: type[rt.APIError], call: Callable[[], object]) -> Any:
    """The error of a call; neither it nor what is behind it shows a secret."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    check_silent(caught.value)
    return caught.value


def check_silent(error: BaseException) -> None:
    whole = held_by(error)
    assert not secrets_in(whole)
    assert not any(secret in whole for secret in SHOWN_IN_LOGS)


def refusal(**details: Any) -> dict[str, Any]:
    """OpenAI's JSON for errors."""
    error = {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}
    return {"error": {**error, **details}}


# --- No answer --------------------------------------------------------------------------------------


def read_http(caller: Caller) -> bytes:
    """A whole request; its body is returned."""
    caller.request = b""
    caller.read_request()
    return caller._file.read(int(caller.header("Content-Length") or 0))


def answer(caller: Caller, body: Any = CREATED, head: str = "") -> None:
    data = json.dumps(body).encode()
    caller.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n{head}\r\n".encode() + data)


def http_server(bodies: list[bytes] | None = None, head: str = "") -> Script:
    """Answers all requests of a connection."""

    def script(caller: Caller) -> None:
        while True:
            body = read_http(caller)
            if not caller.request:
                return
            if bodies is not None:
                bodies.append(caller.request + body)
            answer(caller, head=head)
            if caller.header("Connection") == "close":
                return

    return script

"""Requests to the HTTP API, without sockets."""

import json
from collections.abc import Mapping
from typing import Any

import requests

import realtime_sync as rt
from realtime_sync.events import SessionConfig
from realtime_sync.local import LocalServer
from realtime_sync.local.http.answers import HttpAnswer
from realtime_sync.local.http.api import Admission, Api

NOW = 1_700_000_000.0


KEY = "sk-right"


BEARER = {"authorization": f"Bearer {KEY}"}


JSON = {"content-type": "application/json"}


CLIENT_SECRETS = "/v1/realtime/client_secrets"


SESSIONS = "/v1/realtime/sessions"


TRANSCRIPTION_SESSIONS = "/v1/realtime/transcription_sessions"


TRANSLATION_SECRETS = "/v1/realtime/translations/client_secrets"


CALLS = "/v1/realtime/calls"


REALTIME = "/v1/realtime"


TRANSLATIONS = "/v1/realtime/translations"


TRANSCRIBED = {"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}


def post(
    api: Api, path: str, body: object = None, now: float = NOW, **changed: str | None
) -> tuple[int, Any]:
    """POST this as JSON (bytes: as they are), with the key; the status and the answer."""
    given = {"content_type": "application/json", "authorization": f"Bearer {KEY}"} | changed
    headers = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    answer = api.answer("POST", path, headers, lambda: data, now)
    return answer.status, json.loads(answer.body)


def refusal(answer: tuple[int, Any]) -> tuple[int, str, str | None]:
    """Status, code and param of an error, which has OpenAI's shape."""
    status, body = answer
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["message"]
    return status, body["error"]["code"], body["error"]["param"]


def issued(api: Api, session: dict[str, Any] | None = None, now: float = NOW) -> str:
    """A new secret for this session."""
    path = TRANSLATION_SECRETS if session and "type" not in session else CLIENT_SECRETS
    status, body = post(api, path, {"session": session} if session else {}, now)
    assert status == 200, body
    return str(body["value"])


def admitted(
    api: Api,
    path: str = REALTIME,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] = BEARER,
    now: float = NOW,
) -> Admission:
    admission = api.admit(path, query or {}, headers, now)
    assert isinstance(admission, Admission), admission
    return admission


def turned_away(
    api: Api,
    path: str = REALTIME,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] = BEARER,
    now: float = NOW,
) -> tuple[int, str, str | None]:
    answer = api.admit(path, query or {}, headers, now)
    assert isinstance(answer, HttpAnswer)
    return refusal((answer.status, json.loads(answer.body)))


def header(answer: HttpAnswer, name: str) -> str | None:
    return dict(answer.headers).get(name)


def call_post(api: Api, call_id: str, verb: str, body: object = None) -> tuple[int, Any]:
    return post(api, f"{CALLS}/{call_id}/{verb}", body)


GIVEN = {"type": "realtime", "model": "m", "instructions": "You are a receptionist."}


DEADLINE = 60.0


def ask(
    server: LocalServer, method: str, path: str, body: object = None, key: str = KEY
) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # no proxy, no netrc
        url, headers = f"{server.http_url}{path}", {"Authorization": f"Bearer {key}"}
        return session.request(method, url, json=body, headers=headers, timeout=DEADLINE)


def opened(session: rt.Session) -> SessionConfig:
    event = session.next_event(timeout=DEADLINE)
    assert isinstance(event, rt.events.SessionCreated)
    return event.session


def connected(server: LocalServer, **options: Any) -> rt.Session:
    return rt.connect(base_url=server.url, **options)

"""`failures`: which error an answer becomes that is not a success, or that did not come."""

import copy
import email.utils
import json
import time
from typing import Any

import pytest
import requests
import responses
from http_api import SECRETS, URL, Tries, failure, refusal
from secrets_watch import API_KEY, CLIENT_SECRET

import realtime_sync as rt
from realtime_sync.rest.resources import Rest

# --- Errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, rt.BadRequestError),
        (401, rt.AuthenticationError),
        (402, rt.APIError),
        (403, rt.PermissionDeniedError),
        (404, rt.NotFoundError),
        (405, rt.APIError),
        (407, rt.APIError),
        (408, rt.APIError),
        (409, rt.ConflictError),
        (413, rt.APIError),
        (422, rt.BadRequestError),
        (429, rt.RateLimitError),
        (500, rt.ServerError),
        (502, rt.ServerError),
        (503, rt.ServerError),
        (504, rt.ServerError),
        (529, rt.ServerError),
    ],
)
def test_each_status(status: int, kind: type[rt.APIError], api: responses.RequestsMock, tries: Tries) -> None:
    """Each status has its class of error, with all that the server said."""
    said = refusal(message="No such voice.", code="invalid_value", param="session.voice")
    api.post(f"{URL}/calls/rtc_1/accept", status=status, json=said, headers={"X-Request-ID": "req_9"})
    error = failure(kind, lambda: tries.rest(0).calls.accept("rtc_1"))
    assert issubclass(kind, rt.RealtimeError)
    assert (error.status, error.code, error.type) == (status, "invalid_value", "invalid_request_error")
    assert (error.param, error.message) == ("session.voice", "No such voice.")
    assert (error.request_id, error.headers["x-request-id"]) == ("req_9", "req_9")
    assert json.loads(error.body) == said
    assert str(error) == (
        f"HTTP {status}: No such voice. (code invalid_value, param session.voice, request req_9)"
    )
    assert error.__cause__ is None


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (refusal(), "No.", None),
        ({"error": {"code": 401, "message": "Access denied"}}, "Access denied", "401"),
        ({"error": "out of order"}, "out of order", None),
        ({"error": "out of order", "code": "c"}, "out of order", "c"),
        ({"message": "out of order", "code": "c"}, "out of order", "c"),
        ({"detail": "Not Found"}, "Not Found", None),
        ({"detail": [{"loc": ["body"]}]}, '{"detail": [{"loc": ["body"]}]}', None),
        ({"error": {"code": "c", "type": "t"}}, "c", "c"),
        ({"error": {"type": "t"}}, "t", None),
        ({"error": None}, '{"error": null}', None),
        ({"error": {"message": {}, "code": True}}, '{"error": {"message": {}, "code": true}}', None),
        ([1], "[1]", None),
        ("text", '"text"', None),
    ],
)
def test_error_bodies(
    body: Any, message: str, code: str | None, api: responses.RequestsMock, rest: Rest
) -> None:
    """Whatever a server's errors look like, the text has what it says."""
    api.post(f"{URL}/calls/rtc_1/hangup", status=404, json=body)
    error = failure(rt.NotFoundError, lambda: rest.calls.hangup("rtc_1"))
    assert (error.message, error.code) == (message, code)


PAGE = """<!DOCTYPE html><html><head><title>502 Bad Gateway</title><style>b {color: red}</style>
<script>if (1 < 2) { alert("x") }</script></head>
<body><h1>502 Bad Gateway</h1>nginx &amp; friends</body></html>"""


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (PAGE, "text/html", "502 Bad Gateway 502 Bad Gateway nginx & friends"),
        ("", "text/html", "no explanation"),
        ("upstream  connect\nerror", "text/plain", "upstream connect error"),
        ("<" * 100_000, "text/html", "<" * 200),
        ("<br/>" * 100_000, "text/html", "no explanation"),
    ],
)
def test_error_pages(
    body: str, content_type: str, message: str, api: responses.RequestsMock, tries: Tries
) -> None:
    """An error page of a proxy is shown as text, and not at length."""
    api.post(SECRETS, status=502, body=body, content_type=content_type)
    error = failure(rt.ServerError, tries.rest(0).client_secrets.create)
    if "script" not in body:
        assert error.message == message
    else:  # what is left of the script doesn't matter
        assert error.message.startswith("502 Bad Gateway")
        assert error.message.endswith("nginx & friends")
    assert len(error.body) <= 65536


@pytest.mark.parametrize("name", ["x-request-id", "apim-request-id", "x-ms-request-id"])
def test_request_ids(name: str, api: responses.RequestsMock, rest: Rest) -> None:
    """Azure's names for a request's id are known, too."""
    api.post(SECRETS, status=400, headers={name: "req_1"})
    assert failure(rt.BadRequestError, rest.client_secrets.create).request_id == "req_1"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://evil.example/v1/realtime/client_secrets", "evil.example"),
        ("//evil.example/", "evil.example"),
        ("/elsewhere", "another path"),
        (None, "another path"),
        ("http://[", "an invalid address"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(
    status: int, location: str | None, target: str, api: responses.RequestsMock, rest: Rest
) -> None:
    """A redirect is not followed, so no other server gets the key, and the error says where it led."""
    api.post(SECRETS, status=status, headers={"Location": location} if location else {})
    error = failure(rt.APIError, rest.client_secrets.create)
    assert str(error) == f"HTTP {status}: the server redirects to {target}, which is not followed"
    assert len(api.calls) == 1


def test_a_server_that_repeats_secrets(api: responses.RequestsMock, rest: Rest) -> None:
    """What a server repeats of the key or a secret is taken out of all that an error shows."""
    for secret in (API_KEY, CLIENT_SECRET):
        said = refusal(message=f"Bad key: {secret}.", code=secret, type=secret, param=secret)
        headers = {"x-request-id": secret, "x-you-sent": f"Bearer {secret}"}
        api.post(SECRETS, status=401, json=said, headers=headers)
        error = failure(rt.AuthenticationError, rest.client_secrets.create)
        assert error.message == "Bad key: ***."
        assert (error.code, error.type, error.param, error.request_id) == ("***", "***", "***", "***")
        assert b"Bad key: ***." in error.body
        assert error.headers["x-you-sent"] == "Bearer ***"
        api.reset()
    api.post(SECRETS, status=500, body=f"Is {API_KEY} your key?")
    assert failure(rt.ServerError, rest.client_secrets.create).message == "Is *** your key?"


def test_errors_travel() -> None:
    """An error survives being sent to another process."""
    error = rt.RateLimitError("Slow down.", status=429, code="c", retry_after=3.0)
    again = copy.copy(error)
    assert (str(again), again.retry_after) == ("HTTP 429: Slow down. (code c, try again in 3 s)", 3.0)
    assert str(rt.APIConnectionError("no answer")) == "no answer"


# --- Trying again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422])
def test_final(status: int, api: responses.RequestsMock, rest: Rest) -> None:
    """What the next try would meet again is not tried again."""
    api.post(SECRETS, status=status, headers={"Retry-After": "1"})
    with pytest.raises(rt.APIError):
        rest.client_secrets.create()
    assert len(api.calls) == 1


@pytest.mark.parametrize("details", [{"code": "insufficient_quota"}, {"type": "insufficient_quota"}])
def test_no_quota(details: dict[str, str], api: responses.RequestsMock, rest: Rest) -> None:
    """A quota that is used up is not there a second later either."""
    api.post(SECRETS, status=429, json=refusal(**details))
    failure(rt.RateLimitError, rest.client_secrets.create)
    assert len(api.calls) == 1


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": " 3 "}, 3.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "60"}, 60.0),
        ({"Retry-After-Ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, 0.5),
        ({"Retry-After": "-1"}, 0.5),
        ({"Retry-After": "nan"}, 0.5),
        ({"Retry-After": ""}, 0.5),
        ({"Retry-After": "Wed, 99 Xyz 99999999999999 99:99:99 GMT"}, 0.5),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(
    status: int, headers: dict[str, str], pause: float, api: responses.RequestsMock, tries: Tries
) -> None:
    """A server is asked again when it says; what can't be understood counts as nothing said."""
    api.post(SECRETS, status=status, headers=headers)
    with pytest.raises(rt.APIError):
        tries.rest(1).client_secrets.create()
    assert tries.pauses == [pause]


def test_retry_after_a_date(api: responses.RequestsMock, tries: Tries) -> None:
    """The time to come back may be given as a date."""
    api.post(SECRETS, status=429, headers={"Retry-After": email.utils.formatdate(time.time() + 50)})
    failure(rt.RateLimitError, tries.rest(1).client_secrets.create)
    assert 0 < tries.pauses[0] <= 50


def test_an_error_that_holds_secrets(api: responses.RequestsMock, rest: Rest) -> None:
    """An error of requests that quotes the key is replaced by one that doesn't."""
    inner = ValueError(f"header {API_KEY}")
    lost = requests.ConnectionError(inner)
    lost.__cause__ = inner
    lost.request = requests.Request("POST", URL, headers={"Authorization": API_KEY}).prepare()
    api.post(SECRETS, body=lost)
    error = failure(rt.APIConnectionError, rest.client_secrets.create)
    assert type(error.__cause__) is OSError
    assert str(error.__cause__) == "header ***"

"""What an HTTP request is answered with."""

import json
import re
from functools import partial

from api_calls import BEARER, CLIENT_SECRETS, JSON, NOW, header

from realtime_sync.local.http.answers import Declined, declined, random_id
from realtime_sync.local.http.api import Api
from realtime_sync.local.protocol.refusal import Refused


def test_every_answer_has_its_headers(api: Api) -> None:
    """Good or bad, an answer is JSON and has a request id of its own."""
    requests = [("POST", CLIENT_SECRETS, b"{}"), ("POST", CLIENT_SECRETS, b""), ("GET", "/", b"")]
    answers = [
        api.answer(method, path, {**BEARER, **JSON}, partial(bytes, body), NOW)
        for method, path, body in requests
    ]
    assert [answer.status for answer in answers] == [200, 400, 404]
    ids = [header(answer, "x-request-id") or "" for answer in answers]
    assert all(one.startswith("req_") for one in ids)
    assert len(set(ids)) == 3
    assert {header(answer, "content-type") for answer in answers} == {"application/json"}


def test_a_rejected_field() -> None:
    """A field that is wrong is a 400 whose message names it."""
    answer = declined(Refused("invalid_value", "too loud", "session.volume"))
    assert answer.status == 400
    assert json.loads(answer.body)["error"] == {
        "message": "too loud (session.volume)",
        "type": "invalid_request_error",
        "param": "session.volume",
        "code": "invalid_value",
    }


def test_headers_of_an_error() -> None:
    """An error may have a status and headers of its own; their names get their hyphens."""
    answer = declined(Declined(401, "invalid_api_key", "No.", www_authenticate="Bearer"))
    assert (answer.status, header(answer, "www-authenticate")) == (401, "Bearer")


def test_half_a_character() -> None:
    """What UTF-8 can't carry is replaced, in the message and in the name of the field."""
    answer = declined(Refused("invalid_value", "a\ud83d", "b\ud83d"))
    error = json.loads(answer.body)["error"]
    assert (error["message"], error["param"]) == ("a? (b?)", "b?")


def test_random_ids() -> None:
    """An id has its prefix and 24 hexadecimal digits, and is never the same."""
    ids = {random_id("req") for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("req_[0-9a-f]{24}", one) for one in ids)

"""What an HTTP request is answered with."""

from api_calls import BEARER, CLIENT_SECRETS, JSON, NOW, header

from realtime_sync.local.http.api import Api


def test_every_answer_has_its_headers(api: Api) -> None:
    """Good or bad, an answer is JSON and has a request id of its own."""
    requests = [("POST", CLIENT_SECRETS, b"{}"), ("POST", CLIENT_SECRETS, b""), ("GET", "/", b"")]
    answers = [api.answer(method, path, {**BEARER, **JSON}, body, NOW) for method, path, body in requests]
    assert [answer.status for answer in answers] == [200, 400, 404]
    ids = [header(answer, "x-request-id") or "" for answer in answers]
    assert all(one.startswith("req_") for one in ids)
    assert len(set(ids)) == 3
    assert {header(answer, "content-type") for answer in answers} == {"application/json"}

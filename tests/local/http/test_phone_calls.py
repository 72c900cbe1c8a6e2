"""Phone calls: as pure functions, then over sockets."""

import threading

import pytest
from api_calls import (
    BEARER,
    CALLS,
    DEADLINE,
    GIVEN,
    KEY,
    NOW,
    REALTIME,
    admitted,
    ask,
    call_post,
    connected,
    opened,
    post,
    refusal,
    turned_away,
)

import realtime_sync as rt
from realtime_sync.local import LocalServer
from realtime_sync.local.http.answers import Declined, HttpAnswer
from realtime_sync.local.http.api import Api
from realtime_sync.local.http.phone_calls import Calls


def test_call_from_ring_to_hangup(api: Api) -> None:
    """A call rings, is accepted, can be listened to, and is hung up: each seen by the test."""
    call_id = api.create_call()
    call = api.call(call_id)
    ended: list[str] = []
    call.on_hangup(lambda: ended.append(call.state))
    assert call_id.startswith("rtc_")
    assert (call.state, call.session, call.settings) == ("ringing", None, None)
    assert call_post(api, call_id, "accept", GIVEN) == (200, {})
    assert call.state == "accepted"
    assert call.session
    assert (call.session.model, call.session.instructions) == ("m", "You are a receptionist.")
    assert call.session.output_modalities == ["audio"]
    admission = admitted(api, query={"call_id": call_id})
    assert (admission.call, admission.settings, admission.model) == (call, call.settings, "m")
    assert admission.session_type == "realtime"
    assert not ended
    assert call_post(api, call_id, "hangup") == (200, {})
    assert ended == ["ended"]
    assert repr(call) == f"<Call {call_id} ended>"


@pytest.mark.parametrize(("body", "status"), [(None, 603), ({}, 603), ({"status_code": 486}, 486)])
def test_reject(api: Api, body: object, status: int) -> None:
    """A rejected caller gets the status given, or 603, and the call is over."""
    call = api.call(api.create_call())
    ended = threading.Event()
    call.on_hangup(ended.set)
    assert call_post(api, call.id, "reject", body)[0] == 200
    assert (call.state, call.reject_status) == ("rejected", status)
    assert ended.is_set()


@pytest.mark.parametrize("target", ["tel:+14155550123", "sip:agent@example.com", "SIPS:a@b"])
def test_refer(api: Api, target: str) -> None:
    """A transferred caller is gone: the call ends here, and the test sees where they went."""
    call = api.call(api.create_call())
    call_post(api, call.id, "accept", GIVEN)
    assert call_post(api, call.id, "refer", {"target_uri": target}) == (200, {})
    assert (call.state, call.referred_to) == ("ended", target)


VALID_BODIES = {"accept": GIVEN, "reject": {}, "hangup": None, "refer": {"target_uri": "tel:+1"}}


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        ([], {"hangup": "call_not_accepted", "refer": "call_not_accepted"}),
        (["accept"], {"accept": "call_already_accepted", "reject": "call_already_accepted"}),
    ],
)
def test_call_in_the_wrong_state(api: Api, before: list[str], refused: dict[str, str]) -> None:
    """What can't be done with a call now is a 400 and changes nothing."""
    call = api.call(api.create_call())
    for verb in before:
        call_post(api, call.id, verb, VALID_BODIES[verb])
    state = call.state
    for verb, code in refused.items():
        assert refusal(call_post(api, call.id, verb, VALID_BODIES[verb])) == (400, code, None)
        assert call.state == state


@pytest.mark.parametrize("end", ["reject", "hangup", "refer", "caller"])
def test_call_that_is_over(api: Api, end: str) -> None:
    """A call that is over, in whatever way, is as unknown as one that never was."""
    call = api.call(api.create_call())
    if end in ("hangup", "refer"):
        call_post(api, call.id, "accept", GIVEN)
    if end == "caller":
        call.hang_up()
        call.hang_up()
    else:
        assert call_post(api, call.id, end, VALID_BODIES[end])[0] == 200
    for call_id in (call.id, "rtc_unknown"):
        for verb, body in VALID_BODIES.items():
            assert refusal(call_post(api, call_id, verb, body)) == (404, "call_id_not_found", None)
        assert turned_away(api, query={"call_id": call_id}) == (404, "call_id_not_found", None)


@pytest.mark.parametrize(
    ("verb", "body", "code", "param"),
    [
        ("accept", None, "unsupported_content_type", None),
        ("accept", b"", "invalid_json", None),
        ("accept", b"[]", "invalid_json", None),
        ("accept", b'{"type": "realtime"}, "event_id": "x"', "invalid_json", None),
        ("accept", {}, "missing_required_parameter", "type"),
        ("accept", {"type": "transcription"}, "invalid_value", "type"),
        ("accept", {"type": "realtime", "voice": "echo"}, "unknown_parameter", "voice"),
        ("accept", {"type": "realtime", "audio": {"x": 1}}, "unknown_parameter", "audio.x"),
        ("accept", {"type": "realtime", "tools": {}}, "invalid_type", "tools"),
        ("accept", {"type": "realtime", "tool_choice": "no"}, "invalid_value", "tool_choice"),
        ("reject", b"hello", "invalid_json", None),
        ("reject", {"status": 486}, "unknown_parameter", "status"),
        ("reject", {"status_code": "486"}, "invalid_type", "status_code"),
        ("reject", {"status_code": None}, "invalid_type", "status_code"),
        ("reject", {"status_code": 200}, "invalid_value", "status_code"),
        ("reject", {"status_code": 700}, "invalid_value", "status_code"),
        ("refer", b"", "invalid_json", None),
        ("refer", {}, "missing_required_parameter", "target_uri"),
        ("refer", {"uri": "tel:+1"}, "unknown_parameter", "uri"),
        ("refer", {"target_uri": 7}, "invalid_type", "target_uri"),
        ("refer", {"target_uri": " "}, "invalid_value", "target_uri"),
        ("refer", {"target_uri": "+14155550123"}, "invalid_value", "target_uri"),
        ("refer", {"target_uri": "tel:+1\r\nX: y"}, "invalid_value", "target_uri"),
    ],
)  # fmt: skip
def test_bad_call_request(api: Api, verb: str, body: object, code: str, param: str | None) -> None:
    """A body that is not as specified is a 400 that names the field, and the call goes on as it was."""
    call = api.call(api.create_call())
    if verb == "refer":
        call_post(api, call.id, "accept", GIVEN)
    state = call.state
    kind = None if body is None else "application/json"
    assert refusal(post(api, f"{CALLS}/{call.id}/{verb}", body, content_type=kind)) == (400, code, param)
    assert call.state == state


def test_listening_to_a_call_that_rings(api: Api) -> None:
    """A call that nobody has accepted has no session to connect to, and the answer says why."""
    answer = api.admit(REALTIME, {"call_id": api.create_call()}, BEARER, NOW)
    assert isinstance(answer, HttpAnswer)
    assert answer.status == 404
    assert b"not been accepted" in answer.body


def test_call_ids(api: Api) -> None:
    """A test may choose a call's id, once."""
    assert api.create_call("rtc_mine") == "rtc_mine"
    with pytest.raises(ValueError, match="rtc_mine"):
        api.create_call("rtc_mine")
    with pytest.raises(KeyError):
        api.call("rtc_other")


def test_hangup_callbacks(api: Api) -> None:
    """Each is called once, unless taken back; at once when the call is over; one that fails hurts nobody."""
    call = api.call(api.create_call())
    heard: list[str] = []
    call.on_hangup(lambda: heard.append("first"))
    take_back = call.on_hangup(lambda: heard.append("taken back"))
    call.on_hangup(lambda: heard.append(str(1 // 0)))
    call.on_hangup(lambda: heard.append("last"))
    take_back()
    take_back()
    call.hang_up()
    call.hang_up()
    assert heard == ["first", "last"]
    call.on_hangup(lambda: heard.append("late"))()
    assert heard == ["first", "last", "late"]


def test_hangup_callback_may_use_the_call(api: Api) -> None:
    """A callback runs outside the locks: it may look at the call, and take itself back."""
    call = api.call(api.create_call())
    done = threading.Event()

    def callback() -> None:
        take_back()
        call.on_hangup(done.set)

    take_back = call.on_hangup(callback)
    call.hang_up()
    assert done.is_set()


def test_calls_are_bounded() -> None:
    """At most 10,000 calls are kept: the oldest that is over goes first, or else the oldest, hung up."""
    calls = Calls()
    first, second, third = calls.create(), calls.create(), calls.create()
    second.hang_up()
    for _ in range(9_997):
        calls.create()
    calls.create()
    assert calls.find(first.id) is first
    with pytest.raises(Declined):
        calls.find(second.id)
    calls.create()
    assert (first.state, third.state) == ("ended", "ringing")
    with pytest.raises(Declined):
        calls.find(first.id)


def test_call_over_http(server: LocalServer) -> None:
    """A call that is accepted is listened to over WebSockets, which end with the call."""
    call_id = server.create_call()
    accept = ask(server, "POST", f"/realtime/calls/{call_id}/accept", GIVEN)
    assert (accept.status_code, server.call(call_id).state) == (200, "accepted")
    sessions = [connected(server, api_key=KEY, query={"call_id": call_id}) for _ in range(2)]
    for session in sessions:
        assert opened(session).instructions == GIVEN["instructions"]
    assert ask(server, "POST", f"/realtime/calls/{call_id}/hangup").status_code == 200
    for session in sessions:
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(timeout=DEADLINE)
        assert (caught.value.code, caught.value.clean) == (1000, True)
        session.close()
    assert ask(server, "POST", f"/realtime/calls/{call_id}/hangup").status_code == 404
    with pytest.raises(rt.ConnectionFailed) as gone:
        connected(server, api_key=KEY, query={"call_id": call_id})
    assert gone.value.status == 404


def test_caller_hangs_up(server: LocalServer) -> None:
    """When a test hangs up for the caller, the program's session ends."""
    call = server.call(server.create_call())
    ask(server, "POST", f"/realtime/calls/{call.id}/accept", GIVEN)
    with connected(server, api_key=KEY, query={"call_id": call.id}) as session:
        opened(session)
        call.hang_up()
        assert list(session) == []


def test_reject_and_refer_over_http(server: LocalServer) -> None:
    """The other two verbs, as a client sends them."""
    rejected, referred = server.call(server.create_call()), server.call(server.create_call())
    assert ask(server, "POST", f"/realtime/calls/{rejected.id}/reject").status_code == 200
    assert rejected.reject_status == 603
    ask(server, "POST", f"/realtime/calls/{referred.id}/accept", GIVEN)
    body = {"target_uri": "tel:+14155550123"}
    assert ask(server, "POST", f"/realtime/calls/{referred.id}/refer", body).status_code == 200
    assert referred.referred_to == body["target_uri"]

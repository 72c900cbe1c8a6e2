"""`Requests`: what the server is yet to answer, what it answers, and what it rejects."""

from typing import Any

import pytest
from readable_facts import pending

from realtime_sync.events import ErrorDetails
from realtime_sync.session.facts import Request, ResponseEntry, Sent
from realtime_sync.session.requests import BUSY, CREATE_RESPONSE, Requests, Verdict


def asked(*names: str, out_of_band: bool = False) -> Requests:
    requests = Requests()
    for name in names:
        requests.note_asked(Request(name, out_of_band))
    return requests


def judged(requests: Requests, event_id: str | None = None, *, runs: bool = False, **fields: Any) -> Verdict:
    details = {"type": "invalid_request_error", "message": "No.", **fields}
    return requests.judge(ErrorDetails(event_id=event_id, **details), runs=runs)


def rejected(verdict: Verdict) -> str | None:
    return verdict.rejects.event_id if verdict.rejects is not None else None


def answered(requests: Requests, conversation: str | None = "conv", *, announced: bool = True) -> str | None:
    taken = requests.take_answered(conversation, announced=announced)
    return taken.request.event_id if taken is not None else None


# --- What is answered ----------------------------------------------------------------------------------


def test_in_the_order_in_which_they_were_sent() -> None:
    """The oldest is answered first, each once."""
    requests = asked("e1", "e2")
    assert requests.waits
    assert [answered(requests) for _ in range(3)] == ["e1", "e2", None]
    assert not requests.waits


def test_out_of_band() -> None:
    """A response in the conversation answers no out-of-band request; one that may be outside does."""
    requests = asked("e1", out_of_band=True)
    assert not requests.waits  # it delays nothing
    assert answered(requests) is None
    assert answered(requests, None) == "e1"


@pytest.mark.parametrize(("names", "first"), [(True, "out"), (False, "in")])
def test_a_server_that_names_conversations(names: bool, first: str) -> None:
    """Only where the server names conversations does a missing name say that a response is out-of-band."""
    requests = asked("in")
    requests.note_asked(Request("out", out_of_band=True))
    requests.names_conversations = names
    assert requests.is_out_of_band(None) is names
    assert not requests.is_out_of_band("conv")
    assert answered(requests, None) == first


def test_what_is_not_announced_may_be_any() -> None:
    """The end alone of a response does not say that it is out-of-band if its conversation is missing."""
    requests = asked("in")
    requests.note_asked(Request("out", out_of_band=True))
    requests.names_conversations = True
    assert answered(requests, None, announced=False) == "in"


def test_doubted_ones_are_last() -> None:
    """What may have been answered or rejected delays nothing, and is taken only if there is no other."""
    requests = asked("e1")
    requests.doubt()
    assert not requests.waits
    requests.note_asked(Request("e2"))
    assert [answered(requests), answered(requests)] == ["e2", "e1"]


def test_what_was_sent_before_is_taken_too() -> None:
    """A server takes events in order: what was sent before an answered one can't be rejected any more."""
    requests = Requests()
    requests.note_sent(Sent("session.update", "e0"))
    requests.note_asked(Request("e1"))
    requests.note_sent(Sent("session.update", "e2"))
    assert answered(requests) == "e1"
    assert rejected(judged(requests)) == "e2"
    assert rejected(judged(requests)) is None


def test_answers_to_other_events() -> None:
    """An event is answered by what names its item, or by the server's name for one that had none."""
    requests = Requests()
    named = Sent("conversation.item.create", "e1", item_id="a")
    nameless = Sent("conversation.item.create", "e2")
    requests.note_sent(named)
    requests.note_sent(nameless)
    assert requests.note_done("conversation.item.delete", "a") is None
    assert requests.note_done("conversation.item.create", "a") is named
    assert requests.note_done("conversation.item.create", "made") is nameless
    assert requests.note_done("conversation.item.create", "made") is None


# --- What is rejected ----------------------------------------------------------------------------------


def test_by_name() -> None:
    """The event that an error names is rejected, unless the session is over anyway."""
    requests = asked("e1", "e2")
    requests.note_sent(Sent("session.update", "e3"))
    assert judged(requests, "e2", code="item_delete_x").rejects == Sent(CREATE_RESPONSE, "e2")
    assert judged(requests, "e3").rejects == Sent("session.update", "e3")
    assert judged(requests, "other").rejects == Sent("", "other")
    assert answered(requests) == "e1"


@pytest.mark.parametrize(
    ("fields", "rejects"),
    [
        ({"code": "session_expired"}, None),
        ({"code": BUSY}, "response.create"),
        ({"type": BUSY}, "response.create"),
        ({"code": "response_failed"}, "session.update"),
        ({"code": "response_cancel_not_active"}, "response.cancel"),
        ({"type": "cancel_failed"}, "response.cancel"),
        ({"code": "input_audio_buffer_commit_empty"}, "input_audio_buffer.commit"),
        ({"code": "item_truncate_invalid_item_id"}, "conversation.item.truncate"),
        ({"code": "item_delete_invalid_item_id"}, "conversation.item.delete"),
        ({"code": "item_retrieve_invalid_item_id"}, "conversation.item.retrieve"),
        ({"param": "item.content[0].text"}, "conversation.item.create"),
        ({"param": "conversation_item"}, "conversation.item.create"),
        ({"code": "invalid_value", "param": "previous_item_id"}, "conversation.item.create"),
        ({"code": "invalid_value", "param": "session.audio.output.voice"}, "session.update"),
        ({"param": "response.audio"}, "response.create"),
        ({"code": "audio_end_ms_too_large"}, "conversation.item.create"),
        ({"code": None, "param": None}, "session.update"),
        ({"code": "rate_limit"}, "session.update"),
    ],
    ids=str,
)
def test_without_a_name(fields: dict[str, Any], rejects: str | None) -> None:
    """A nameless error rejects the oldest event that its code, type or param can be about."""
    requests = Requests()
    kinds = ("create", "delete", "truncate", "retrieve")
    types = ["session.update", "response.cancel", "input_audio_buffer.commit"]
    for kind in [*types, *(f"conversation.item.{kind}" for kind in kinds)]:
        requests.note_sent(Sent(kind, kind))
    requests.note_asked(Request("response.create"))
    assert rejected(judged(requests, **fields)) == rejects


def test_only_what_was_made() -> None:
    """Nothing is rejected that was not sent."""
    for code in (BUSY, "session_expired", "item_delete_x", None):
        assert rejected(judged(Requests(), code=code)) is None


@pytest.mark.parametrize("runs", [True, False])
def test_what_may_be_about_a_response(runs: bool) -> None:
    """While a response runs a nameless error may be about that: it rejects nothing, but leaves a doubt."""
    requests = asked("e1")
    verdict = judged(requests, runs=runs)
    assert rejected(verdict) == (None if runs else "e1")
    assert verdict.unclear
    assert not requests.waits
    assert answered(requests) == "e1"


def test_a_server_that_names_events() -> None:
    """Once a server has named an event, its nameless errors are about none."""
    requests = asked("e1", "e2")
    judged(requests, "e1")
    assert rejected(judged(requests)) is None
    assert rejected(judged(requests, code=BUSY)) is None
    assert answered(requests) == "e2"


def test_sent_again() -> None:
    """What waited for its turn and yet found a response active is pending again, before all others."""
    requests = Requests()
    requests.pending.append(pending("later"))
    requests.note_asked(Request("e1"), pending("e1"))
    assert judged(requests, "e1", code=BUSY).handled
    assert [each.event.event_id for each in requests.pending] == ["e1", "later"]
    requests.note_asked(Request("e1"), requests.pending.popleft())
    verdict = judged(requests, "e1", code="other")
    assert (verdict.handled, rejected(verdict)) == (False, "e1")


def test_not_sent_again_if_cancelled() -> None:
    """A request that was cancelled in the meantime is rejected, and not sent again."""
    requests = Requests()
    requests.note_asked(Request("e1"), pending("e1"))
    requests.note_cancel("c1", None)
    verdict = judged(requests, "e1", code=BUSY)
    assert (verdict.handled, rejected(verdict)) == (False, "e1")
    assert not requests.pending


def test_the_match_is_corrected() -> None:
    """The response that seemed to answer a rejected request answers the doubted one, if there is one."""
    requests = asked("e1")
    requests.doubt()
    requests.note_asked(Request("e2"))
    response = ResponseEntry("r")
    taken = requests.take_answered("conv", announced=True)
    assert taken is not None
    response.request = taken.request
    requests.note_answer(taken, response)
    assert rejected(judged(requests, "e2")) == "e2"
    assert response.request == Request("e1")
    assert rejected(judged(requests, "e1")) == "e1"
    assert response.request is None


# --- Cancellations, and what is taken back -------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_a_cancellation_that_came_too_late(named: bool) -> None:
    """Its rejection is no error, once; another reason is one."""
    requests = Requests()
    requests.note_cancel("c1", None)
    name = "c1" if named else None
    assert judged(requests, name, code="response_cancel_not_active").handled
    assert not judged(requests, name, code="response_cancel_not_active").handled
    requests.note_cancel("c2", None)
    assert not judged(requests, "c2", code="server_error").handled


def test_withdrawn() -> None:
    """What is pending can be taken back, once; what was sent can't."""
    requests = asked("sent")
    requests.pending.extend([pending("e1"), pending("e2")])
    assert not requests.withdraw("sent")
    assert requests.withdraw("e1")
    assert not requests.withdraw("e1")
    assert [each.event.event_id for each in requests.pending] == ["e2"]


def test_unanswered() -> None:
    """Of what the server never answers a bounded number is remembered."""
    requests = Requests()
    for number in range(20_000):
        requests.note_asked(Request(f"r{number}"))
        requests.note_sent(Sent("session.update", f"s{number}"))
        requests.note_cancel(f"c{number}", None)
    first = rejected(judged(requests, code=BUSY))
    assert first is not None
    assert 19_000 < int(first[1:]) < 19_999
    assert judged(requests, "s0").rejects == Sent("", "s0")
    assert judged(requests, "s19999").rejects == Sent("session.update", "s19999")

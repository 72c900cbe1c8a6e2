"""`AskedSettings`: what was asked for of the settings, against a plain deep merge."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_sync import events as ev
from realtime_sync.session.settings import AskedSettings

_VALUES = st.none() | st.booleans() | st.text(max_size=3)
_DETECTION = st.none() | st.fixed_dictionaries(
    {"type": st.just("server_vad")}, optional={"threshold": _VALUES}
)
_SIDE = st.none() | st.fixed_dictionaries({}, optional={"turn_detection": _DETECTION, "format": _VALUES})
_AUDIO = st.none() | st.fixed_dictionaries({}, optional={"input": _SIDE, "output": _SIDE})
_SESSION = st.fixed_dictionaries(
    {}, optional={"instructions": _VALUES, "audio": _AUDIO, "tools": st.lists(_VALUES, max_size=2)}
)


def merge(settings: dict[str, Any], changes: dict[str, Any]) -> None:
    """The rule, in plain words: audio and its two sides change in part, all else is replaced."""
    for name, value in changes.items():
        inner = settings.get(name)
        if name in ("audio", "input", "output") and isinstance(inner, dict) and isinstance(value, dict):
            merge(inner, value)
        else:
            settings[name] = copy.deepcopy(value)


def update(session: dict[str, Any], kind: str = "session.update") -> dict[str, Any]:
    return {"type": kind, "session": session}


@settings(max_examples=50)
@given(st.lists(st.tuples(_SESSION, st.sampled_from(["taken", "rejected", "not answered"])), max_size=8))
def test_merged_as_by_hand(sent: list[tuple[dict[str, Any], str]]) -> None:
    """What is in force is all that the server has taken, in the order sent, and nothing that it has not.

    An answer to one takes those before it that were not answered.
    """
    asked = AskedSettings()
    expected: dict[str, Any] = {}
    open_: list[dict[str, Any]] = []
    for number, (session, answer) in enumerate(sent):
        asked.sent(str(number), update(session))
        open_.append(session)
        if answer == "taken":
            asked.confirmed(str(number))
            for each in open_:
                merge(expected, each)
            open_.clear()
        elif answer == "rejected":
            asked.rejected(str(number))
            open_.pop()
    assert (asked.events() or [update({})])[0]["session"] == expected


def test_no_longer_changed() -> None:
    """What was returned stays as it is when more settings are taken: another thread may be sending it."""
    asked = AskedSettings()
    asked.sent("1", update({"audio": {"input": {"format": "a"}, "output": {"voice": "b"}}}))
    asked.confirmed("1")
    before = asked.events()
    kept = copy.deepcopy(before)
    asked.sent("2", update({"audio": {"input": {"format": "c"}}}))
    asked.confirmed("2")
    assert before == kept
    assert asked.events() == [update({"audio": {"input": {"format": "c"}, "output": {"voice": "b"}}})]


def test_structs_and_dicts() -> None:
    """An update as a struct counts as one as a dict does, a cleared field included; each type for itself."""
    asked = AskedSettings()
    asked.sent("1", ev.SessionUpdate(session=ev.SessionConfig(instructions="Be brief.", temperature=None)))
    asked.sent("2", update({"voice": "alloy"}, "transcription_session.update"))
    asked.confirmed("2")
    assert asked.events() == [
        update({"instructions": "Be brief.", "temperature": None}),
        update({"voice": "alloy"}, "transcription_session.update"),
    ]


def test_many_without_an_answer() -> None:
    """Of a server that answers no update, the oldest count as taken, so that memory is bounded."""
    asked = AskedSettings()
    for number in range(300):
        asked.sent(str(number), update({"instructions": str(number)}))
    [event] = asked.events()
    assert event["session"]["instructions"] == str(300 - 257)
    asked.confirmed("3")  # it counts as answered already, and says nothing of those after it
    assert asked.events() == [event]


def test_no_settings() -> None:
    """An update without settings changes nothing, whatever a program has put there."""
    asked = AskedSettings()
    wrong: list[Any] = [None, [], "text"]
    for number, session in enumerate(wrong):
        asked.sent(str(number), {"type": "session.update", "session": session})
        asked.confirmed(str(number))
    assert asked.events() == []

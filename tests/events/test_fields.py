"""`fields`: the settings of sessions and responses as keyword arguments."""

from typing import Any

import pytest

from realtime_sync import events as ev
from realtime_sync.events.codec import encode
from realtime_sync.events.fields import ResponseFields, SessionFields, response_params, session_config


def test_keywords_are_fields() -> None:
    """The keyword arguments are the fields of the structs, less what only the server sets."""
    server_only = {"id", "object", "expires_at", "client_secret"}
    assert set(SessionFields.__annotations__) == set(ev.SessionConfig.__struct_fields__) - server_only
    assert set(ResponseFields.__annotations__) == set(ev.ResponseCreateParams.__struct_fields__)


def test_only_what_is_given() -> None:
    """A field that is not given is left out on the wire; ``None`` clears it."""
    config = session_config({"instructions": None, "tools": [{"type": "function", "name": "f"}]})
    assert encode(ev.SessionUpdate(session=config)) == (
        b'{"type":"session.update","session":{"instructions":null,"tools":[{"type":"function","name":"f"}]}}'
    )
    params = response_params({"conversation": "none"})
    assert encode(ev.ResponseCreate(response=params)) == (
        b'{"type":"response.create","response":{"conversation":"none"}}'
    )


@pytest.mark.parametrize(
    ("build", "wrong", "right"),
    [
        (session_config, "instruction", "instructions"),
        (session_config, "tool_choise", "tool_choice"),
        (response_params, "conversaton", "conversation"),
    ],
)
def test_misspelt_fields(build: Any, wrong: str, right: str) -> None:
    """A field that does not exist is a `TypeError` with the nearest right name."""
    with pytest.raises(TypeError, match=f"'{wrong}'; did you mean '{right}'"):
        build({wrong: "x"})


@pytest.mark.parametrize("name", ["id", "client_secret"])
def test_what_only_the_server_sets(name: str) -> None:
    """What the server alone decides can't be asked for."""
    with pytest.raises(TypeError, match=repr(name)):
        session_config({name: "x"})

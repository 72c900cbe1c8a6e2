"""`objects`: what events hold, and what of it is shown."""

import pytest
from msgspec import UNSET

from realtime_sync import events


def test_beta_content_parts_are_ga_content_parts() -> None:
    """`text` and `audio` parts can be used wherever `output_text` and `output_audio` are."""
    assert issubclass(events.Text, events.OutputText)
    assert issubclass(events.Audio, events.OutputAudio)


def test_unset_settings_are_false() -> None:
    """Settings that a session does not mention read as false, not as an error."""
    config = events.SessionConfig()
    assert all(getattr(config, name) is UNSET for name in config.__struct_fields__)
    assert not config.tracing


# --- Secrets ------------------------------------------------------------------------------------


def test_a_client_secret_is_not_shown() -> None:
    """The value of an ephemeral key is not in the repr, nor in that of what holds it."""
    secret = events.ClientSecret(value="ek_very_secret", expires_at=17)
    shown = repr(secret) + repr(events.SessionConfig(client_secret=secret))
    assert "ek_very_secret" not in shown
    assert "17" in shown


def test_the_credentials_of_an_mcp_server_are_not_shown() -> None:
    """Neither token nor headers of an MCP tool are in the repr; what names the tool is."""
    tool = events.McpTool(
        server_label="docs",
        server_url="https://example.com/mcp",
        authorization="token-secret",
        headers={"X-Key": "header-secret"},
    )
    shown = repr(tool) + repr(events.SessionConfig(tools=[tool]))
    assert "secret" not in shown
    assert "docs" in shown
    assert "https://example.com/mcp" in shown


def test_a_short_repr() -> None:
    """The repr of an object leaves out what is not set."""
    assert repr(events.InputText(text="hi")) == "InputText(text='hi')"


# --- Parts of a new kind ------------------------------------------------------------------------


def test_an_unknown_object_names_its_type() -> None:
    """`type` is the one in the data, or empty where there is none that is a string."""
    assert events.UnknownObject({"type": "video", "fps": 3}).type == "video"
    assert events.UnknownObject({}).type == ""
    assert events.UnknownObject({"type": 5}).type == ""
    assert events.UnknownObject(["type"]).type == ""


def test_unknown_objects_compare_by_data() -> None:
    """Two unknown objects with the same data are equal; nothing else is equal to one."""
    data = {"type": "video"}
    assert events.UnknownObject(data) == events.UnknownObject({"type": "video"})
    assert events.UnknownObject(data) != events.UnknownObject({"type": "smell"})
    assert events.UnknownObject(data) != data


def test_an_unknown_object_is_not_hashable() -> None:
    """It holds data that can change, so it can't be a key."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(events.UnknownObject({}))


def test_an_unknown_object_shows_its_data() -> None:
    """The repr says what came."""
    assert repr(events.UnknownObject({"type": "video"})) == "UnknownObject({'type': 'video'})"


def test_an_unknown_object_can_be_matched() -> None:
    """`case UnknownObject(data)` binds the data."""
    match events.UnknownObject({"type": "video"}):
        case events.UnknownObject(data):
            assert data == {"type": "video"}

"""`redaction`: which names carry secrets, and texts without them, without credentials and on one line."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from secrets_watch import API_KEY, CLIENT_SECRET

from realtime_sync.redaction import (
    HIDDEN,
    is_secret_name,
    one_line,
    redactor,
    without,
    without_credentials,
    without_secrets,
)


@pytest.mark.parametrize(
    "name",
    ["Authorization", "api-key", "X-Goog-Api-Key", "access_token", "Set-Cookie", "client_secret", "sig"],
)
def test_names_of_secrets(name: str) -> None:
    """Headers and query parameters are known to carry a credential by their names, in any letter case."""
    assert is_secret_name(name)
    assert is_secret_name(name.upper())


@pytest.mark.parametrize("name", ["Idempotency-Key", "model", "api-version", "User-Agent", "design"])
def test_names_of_other_things(name: str) -> None:
    """What carries no credential stays readable."""
    assert not is_secret_name(name)


# --- Texts without the secrets of a request ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "repeated"),
    [
        ("Authorization", f"Bearer {API_KEY}", API_KEY),
        ("Authorization", f"Basic {API_KEY}", API_KEY),
        ("Authorization", API_KEY, API_KEY),
        ("Cookie", f"a=b; session={API_KEY}; c=d", API_KEY),
        ("api-key", "sk-a/b", quote("sk-a/b", safe="")),
        ("api-key", "sk-a/b", r"sk-a\/b"),
        ("X-Other", "harmless", CLIENT_SECRET),
    ],
)
def test_forms_of_a_secret(name: str, value: str, repeated: str) -> None:
    """A secret is taken out as it was sent, as a URL has it, and as JSON may escape it."""
    assert redactor([(name, value)])(f"you sent {repeated}!") == f"you sent {HIDDEN}!"


def test_what_is_no_secret_stays() -> None:
    """Schemes, the names of cookies, and values too short to be told from chance are left in a text."""
    redact = redactor([("Authorization", "Bearer abc"), ("Cookie", "session=xyz"), ("model", "gpt-realtime")])
    text = "Bearer abc session xyz gpt-realtime"
    assert redact(text) == text


def test_a_secret_that_begins_with_another() -> None:
    """The longest one is taken out whole; nothing of its end is left."""
    redact = redactor([("api-key", "sk-test"), ("X-Api-Key", "sk-test-longer")])
    assert redact("sk-test-longer sk-test") == f"{HIDDEN} {HIDDEN}"


def test_without() -> None:
    """Given secrets are taken out whatever their length; absent and empty ones are skipped."""
    assert without("a:b:a", ("a", None, "")) == f"{HIDDEN}:b:{HIDDEN}"


class Inner(Struct):
    """A part of `Outer`."""

    text: str


class Outer(Struct):
    """A struct with texts at two levels, and a field of each other kind."""

    text: str
    number: int
    inner: Inner
    absent: str | None = None


def test_a_struct_without_secrets() -> None:
    """All texts of a copy are cleaned, also of the structs in it; the original is left as it was."""
    redact = redactor([("api-key", API_KEY)])
    original = Outer(API_KEY, 1, Inner(f"key {API_KEY}"))
    assert without_secrets(original, redact) == Outer(HIDDEN, 1, Inner(f"key {HIDDEN}"))
    assert original.inner.text == f"key {API_KEY}"


@pytest.mark.parametrize(
    "held",
    [
        {"authorization": 'token "quoted" \\'},
        {"headers": {"X-Key": "to}ken", "Y": "token"}},
        {"client_secret": {"value": "token", "expires_at": 7}},
        {"client_secret": "token"},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_an_event_without_credentials(held: dict[str, object], indent: int | None) -> None:
    """What the settings in an event hold of credentials is hidden, and the rest is still the same JSON."""
    event = json.dumps({"type": "session.update", "session": {**held, "voice": "ash"}}, indent=indent)
    shown = without_credentials(event)
    assert "token" not in shown
    assert json.loads(shown)["session"] == {next(iter(held)): HIDDEN, "voice": "ash"}


# --- Characters --------------------------------------------------------------------------------------


@given(st.text())
def test_one_line(text: str) -> None:
    """Whatever a peer sends is one line of printable characters and blanks in a log."""
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)


def test_what_one_line_keeps() -> None:
    """Line breaks and control characters are seen as escapes; letters of all languages stay."""
    assert one_line("a\nb\x1b[31m\u2028é你") == r"a\nb\x1b[31m\u2028é你"

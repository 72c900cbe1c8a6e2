"""`redaction`: which names carry secrets, and texts that may be shown."""

import gc
import json
import logging
import random
import time
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from secrets_watch import API_KEY, CLIENT_SECRET

from realtime_sync.redaction import (
    CUT,
    HIDDEN,
    LONGEST,
    beginning,
    is_secret_name,
    one_line,
    printable,
    redactor,
    without,
    without_credentials,
    without_secret_parameters,
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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /v1?model=m&api_key=sk-1 HTTP/1.1", "GET /v1?model=m&api_key=*** HTTP/1.1"),
        ("/v1?k%65y=sk-1;token=t&x=y", "/v1?k%65y=***;token=***&x=y"),
        ("token=t is no parameter", "token=t is no parameter"),
    ],
)
def test_secret_parameters(text: str, shown: str) -> None:
    """Of an address in a text, the values of the parameters with secret names are hidden, and no others."""
    assert without_secret_parameters(text) == shown


def test_a_struct_without_secrets() -> None:
    """All texts of a copy are cleaned, also of the structs in it; the original is left as it was."""
    redact = redactor([("api-key", API_KEY)])
    original = Outer(API_KEY, 1, Inner(f"key {API_KEY}"))
    assert without_secrets(original, redact) == Outer(HIDDEN, 1, Inner(f"key {HIDDEN}"))
    assert original.inner.text == f"key {API_KEY}"


SECRET = "sk-" + "q" * 60


@pytest.mark.parametrize(
    "text", ["{dots}{secret}{rest}", "{dots}" + "{secret}" * 600, "{dots}{secret} {secret}"]
)
def test_no_half_of_a_secret(text: str) -> None:
    """Wherever a text is cut, no part of a secret is left, also if the secrets before it have shrunk."""
    redact = redactor([("api-key", SECRET)])
    for dots in [*range(70), *range(LONGEST - 70, LONGEST + 5)]:
        whole = text.format(dots="." * dots, secret=SECRET, rest="z" * 50_000)
        assert "sk" not in beginning(whole, redact)
        assert "sk" not in one_line(whole, redact=redact)


def test_a_text_that_was_cut_before() -> None:
    """A text that was cut already may end in half a secret, so its end is not shown, and that is said."""
    redact = redactor([("api-key", SECRET)])
    text = f"{{}} {SECRET[:40]}"
    assert beginning(text, redact, more=True) == ""
    assert one_line(text, redact=redact, more=True) == CUT


def test_secrets_of_all_sessions() -> None:
    """What is long enough to be no word is hidden wherever a text is shown, as long as it is in use."""
    redact = redactor([("api-key", API_KEY), ("X-Token", "lm-studio")])
    assert redactor([("api-key", API_KEY), ("X-Token", "lm-studio")]) is redact
    assert one_line(f"{API_KEY} {CLIENT_SECRET} lm-studio") == f"{HIDDEN} {HIDDEN} lm-studio"
    assert one_line("lm-studio", redact=redact) == HIDDEN
    other = redactor([("api-key", SECRET)])
    assert one_line(SECRET) == HIDDEN
    del other
    gc.collect()
    assert one_line(SECRET) == SECRET


@pytest.mark.parametrize(
    "held",
    [
        {"authorization": 'token "quoted" \\'},
        {"headers": {"X-Key": "to}ken", "Y": "token"}},
        {"client_secret": {"value": "token", "expires_at": 7}},
        {"client_secret": "token"},
        {"headers": {"X": {"Y": "token", "Z": ["token"]}}},
        {"headers": ["X", "token"]},
        {"authorization": "\\\\"},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_an_event_without_credentials(held: dict[str, object], indent: int | None) -> None:
    """What the settings in an event hold of credentials is hidden, and the rest is still the same JSON."""
    event = json.dumps({"type": "session.update", "session": {**held, "voice": "ash"}}, indent=indent)
    shown = without_credentials(event)
    assert "token" not in shown
    assert json.loads(shown)["session"] == {next(iter(held)): HIDDEN, "voice": "ash"}


@pytest.mark.parametrize("cut", range(1, 60))
def test_the_beginning_of_an_event_without_credentials(cut: int) -> None:
    """Credentials are hidden also where the event was cut within them."""
    event = json.dumps({"headers": {"X-Key": 'to"ken\\', "Y": ["token"]}, "client_secret": "token"})
    shown = without_credentials(event[:cut])
    assert "to" not in shown
    assert event.startswith(shown[:10])


def test_what_is_no_credential_stays() -> None:
    """Names without a value that could hold a credential are left as they are."""
    event = '{"headers":null,"authorization":7,"type":"headers","x":"\\"headers\\":{}"}'
    assert without_credentials(event) == event


WORST: dict[str, Callable[[int], str]] = {
    "texts that begin": lambda size: '"headers":{\\"' * (size // 12),
    "objects that begin": lambda size: '"headers":{' * (size // 11),
    "lists that begin": lambda size: '"headers":[' * (size // 11),
    "texts": lambda size: '"headers":"' * (size // 11),
    "blanks": lambda size: '"headers"' + " " * size,
    "names": lambda size: '"headers"' * (size // 9),
    "backslashes": lambda size: '"headers":"' + "\\" * size,
    "quotes": lambda size: '"headers":{' + '"' * size,
    "credentials": lambda size: '"headers":{},' * (size // 13),
    "secrets": lambda size: API_KEY * (size // len(API_KEY)),
    "halves of secrets": lambda size: API_KEY[:-1] * (size // len(API_KEY)),
    "ephemeral": lambda size: "ek_-" * (size // 4),
    "almost ephemeral": lambda size: "ek" * (size // 2),
    "control characters": lambda size: "\x1b" * size,
}


def seconds(act: Callable[[str], object], text: str) -> float:
    """How long a call takes at best, on a processor of its own."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        act(text)
        times.append(time.thread_time() - began)
    return min(times)


@pytest.mark.parametrize("kind", WORST)
def test_time(kind: str) -> None:
    """What a peer sends costs time in proportion at most: ten times as much is far from a hundred times."""
    redact = redactor([("api-key", API_KEY)])
    for act in (without_credentials, redact, printable):
        small, large = (seconds(act, WORST[kind](size)) for size in (10_000, 100_000))
        assert large < 40 * small + 0.2


@pytest.mark.parametrize("kind", WORST)
def test_time_of_a_line(kind: str) -> None:
    """A text is looked at no further than it is shown, so that 5 MB take no longer than a few kB."""
    small, large = (seconds(one_line, WORST[kind](size)) for size in (50_000, 5_000_000))
    assert large < 5 * small + 0.05


# --- Characters --------------------------------------------------------------------------------------


NASTY = (
    "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F]))
    + "".join(map(chr, [*range(0x2028, 0x202F), *range(0x2066, 0x2070), *range(0xD800, 0xE000)]))
    + "".join(map(chr, [0xFFF9, 0xFFFA, 0xFFFB, *range(0xE0000, 0xE0080)]))
)
ORDINARY = [
    "👩‍👩‍👧 ❤️ 🏳️‍🌈 🇩🇪 👍🏽",  # joined, with variation selectors
    "می‌خواهم",  # with a zero-width non-joiner
    "שלום עולם, مرحبا بالعالم",
    "ไทย​ภาษา",  # with a zero-width space
    "葛󠄀城 é e\u0301 «\u202fà\u00a0»",
    "\ue000 \U0001fae9",  # private use; newer than some Pythons
]


def test_what_is_escaped() -> None:
    """What speaks to a terminal, begins a line, turns the order of letters around, or hides, is escaped."""
    assert {character for character in NASTY if printable(character) == character} == {"\n", "\t"}
    assert all(one_line(character) == ascii(character)[1:-1] for character in NASTY)


def test_all_of_unicode() -> None:
    """No control character, line break, direction or half of a pair passes, whichever there are."""
    everything = "".join(map(chr, [*range(0x11000), *range(0xE0000, 0xE1000)]))
    passed = printable(everything).replace("\n", "").replace("\t", "")
    assert {"Cc", "Cs", "Zl", "Zp"}.isdisjoint(map(unicodedata.category, passed))
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert directions.isdisjoint(map(unicodedata.bidirectional, passed))


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text: str) -> None:
    """Text of all languages, and emoji that are joined of several, are shown as they are."""
    assert printable(text) == one_line(text) == text


@given(st.text())
def test_deltas(text: str) -> None:
    """A text that comes in deltas is shown like one that comes at once."""
    place = random.randrange(len(text) + 1)
    assert printable(text[:place]) + printable(text[place:]) == printable(text)


@pytest.mark.parametrize("text", ["x" * 5_000_000, "\x1b" * 2001, "\u202e" * 400, "é" * 2001])
def test_cut(text: str) -> None:
    """A line has at most so many characters, those of its escapes included, and says that it was cut."""
    line = one_line(text)
    assert len(line) == LONGEST
    assert line.endswith(CUT)
    assert one_line(line) == line
    assert one_line("x" * LONGEST) == "x" * LONGEST
    assert one_line("abc" * 10, 20) == "abcabcabcab... [cut]"


@given(st.text())
def test_one_line(text: str) -> None:
    """Whatever a peer sends is one line of printable characters and blanks in a log."""
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)


def test_what_one_line_keeps() -> None:
    """Line breaks and control characters are seen as escapes; letters of all languages stay."""
    assert one_line("a\nb\x1b[31m\u2028é你") == r"a\nb\x1b[31m\u2028é你"


# --- Log lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["realtime_sync", "realtime_sync.local"])
def test_log_lines(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever of the package writes to the log, it is one line; an ordinary one is left as it is."""
    logger = logging.getLogger(name)
    logger.warning("%s said %r", "he", "x")
    logger.warning("%s", "\n\x1b[2J" + "x" * 5_000_000)
    ordinary, nasty = caplog.records
    assert (ordinary.msg, ordinary.args) == ("%s said %r", ("he", "x"))
    assert nasty.getMessage().startswith(r"\n\x1b[2Jxx")
    assert nasty.getMessage().endswith(CUT)
    assert len(nasty.getMessage()) < 2500


def test_tracebacks_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that repeats what a peer said is logged without what does harm, in lines that end."""
    try:
        raise ValueError("\x1b[2J\u202e" + "x" * 500_000 + "\nline" * 2_000)
    except ValueError:
        logging.getLogger("realtime_sync").exception("failed")
    lines = caplog.text.splitlines()
    assert any(line.startswith(r"ValueError: \x1b[2J\u202exx") for line in lines)
    assert max(map(len, lines)) <= LONGEST
    assert len(lines) < 250

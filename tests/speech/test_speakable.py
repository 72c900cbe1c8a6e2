"""What of a written text is spoken."""

import pytest
from growth import growth
from hypothesis import given
from hypothesis import strategies as st

from realtime_sync.speech.speakable import speakable


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Good morning.", "Good morning."),
        ("It **really** is *so*, __very__ ~~not~~ _much_ so.", "It really is so, very not much so."),
        ("**Cut. ", "Cut."),
        ("Within.** And", "Within. And"),
        ("2 * 3 is 6, 2*3 too, and snake_case stays.", "2 * 3 is 6, 2*3 too, and snake_case stays."),
        ("# Soup #\n## How to *cook*", "Soup\nHow to cook"),
        ("- salt\n* pepper\n+ leek\n- [x] done", "salt\npepper\nleek\ndone"),
        ("1. First.\n2. Second.", "1. First.\n2. Second."),
        ("> He said\n>> nothing.", "He said\nnothing."),
        ("C# and F# are languages.", "C# and F# are languages."),
        ("See [the page](https://a.b/c_(d) \"title\") or [this][1].", "See the page or this."),
        ("[See this.", "See this."),
        (" Then](http://x.y/z_(a)) go [on].", "Then go on."),
        ("![a cat](cat.png) sleeps[^1].", "a cat sleeps."),
        ("Open https://a.b/c?d=e#f, or <http://x.y>.", "Open, or."),
        ("See www.example.com (https://example.com) now.", "See now."),
        ("Type `ls -l` now.", "Type ls -l now."),
        ("Run:\n```sh\nrm *\n```\nThat is all.", "Run:\nThat is all."),
        ("```python\nprint(1)", ""),
        ("<think>What is it?</think>Four.", "Four."),
        ("Four.<think>Is it?", "Four."),
        ("| day | sun |\n|:---|---:|\n| Monday | yes |", "day, sun\nMonday, yes"),
        ("Above\n\n---\n\nBelow", "Above\nBelow"),
        ("Good 😀👍🏽 job 1️⃣!", "Good job 1!"),
        ("a<br>b, 3 < 4", "a b, 3 < 4"),
        (r"5 \* 3", "5 * 3"),
        ("Grüße, 你好。", "Grüße, 你好。"),
        ("a\x00b\x1b\tc", "a b c"),
    ],
)  # fmt: skip
def test_what_is_said(text: str, said: str) -> None:
    """The words stay, the signs go, with what can't be said."""
    assert speakable(text) == said


@pytest.mark.parametrize(
    "text", ["", " \n", "😀", "---", "...", "**", "https://example.com/", "`", "<think>", "| |"]
)
def test_what_is_not_said(text: str) -> None:
    """What has no words is nothing at all."""
    assert speakable(text) == ""


@given(st.text() | st.text(alphabet='ab *_`#[]()<>|-~\\.:/\n!^"😀'))
def test_any_text(text: str) -> None:
    """Nothing fails, control characters never come out, and there are words in it or nothing."""
    said = speakable(text)
    assert said == "" or any(map(str.isalnum, said))
    assert all(character == "\n" or character.isprintable() or ord(character) > 126 for character in said)


@pytest.mark.parametrize(
    "part",
    [
        "a", ".", "<think>", "```", "<", "<a", "[", "[a](b", "](", "![a](\"", "[x](a ", "[a]((", "[^a", "(", "http://",
        "www.", "*", "_", "_a", "__a ", "**", "|", "|\n", "#", "> ", "- ", "\\", "😀", " ", "\n", "[a](b(c",
    ],
)  # fmt: skip
def test_time_is_linear(part: str) -> None:
    """The time grows no faster than the text, whatever is in it."""

    def prepare(n: int) -> object:
        text = part * n
        return lambda: speakable(text)

    found = growth(prepare, 20_000 // len(part))  # type: ignore[arg-type]
    assert found.is_linear, found

"""Every example runs, as written, against the local server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime_sync.local import LocalServer

EXAMPLES = Path(__file__).parent.parent / "examples"

PRINTS = {
    "audio_next_event": ["I heard 2.0 seconds of audio.", "s of speech received"],
    "audio_visitor": ["Say hello.", "answer.wav: "],
    "function_call_next_event": ["roll_dice({})", '{"rolled": 4}'],
    "function_call_visitor": ["get_weather('Oslo')", "Rain in Oslo, 7 degrees."],
    "local_server": ["it said: One moment.", 'it called: hang_up {"politely": true}'],
    "text_next_event": ["Why is the sky blue?", "And at sunset?"],
    "text_visitor": ["Why is the sky blue?", "tokens"],
    "weather_line": ["I heard 2.0 seconds of audio."],
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalServer() as server:
        yield server.url


def test_all_examples_are_run() -> None:
    """No example is left out here, and each is 20 to 50 lines long."""
    files = sorted(EXAMPLES.glob("*.py"))
    programs = [file.stem for file in files if not file.stem.startswith("test_")]
    assert programs == sorted(PRINTS)
    assert all(20 <= len(file.read_text().splitlines()) <= 50 for file in files)


@pytest.mark.parametrize("name", PRINTS)
def test_example(name: str, address: str, tmp_path: Path) -> None:
    """The example ends well and prints what it promises."""
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        env={**os.environ, "OPENAI_BASE_URL": address, "PYTHONPATH": str(EXAMPLES.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    for words in PRINTS[name]:
        assert words in ended.stdout


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("test_*.py")), ids=lambda file: file.stem)
def test_example_of_a_test(file: Path, tmp_path: Path) -> None:
    """The tests among the examples pass, with nothing but what the package brings."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-Werror", "-p", "no:cacheprovider", str(file)],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr

"""Real devices of PortAudio, as ALSA and PulseAudio offer them: what they can't, and how they go away."""

import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from pulse import MISSING, Pulse

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
QUESTION = Path(__file__).parents[1] / "data" / "question.wav"
ENOUGH = 60  # seconds for a program

# Connects a microphone to a server, and has words for what the tests do.
PREFACE = """
import sys, time
import realtime_sync as rt
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import Microphone, Speaker, audio, devices, read_wav

def until(condition):
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends, "did not happen in time"
        time.sleep(0.01)

def say(word):
    print(word, flush=True)
    sys.stdin.readline()

def hears(count=9600):
    before = len(server.audio_received)
    until(lambda: len(server.audio_received) >= before + count)

with RealtimeServer() as server, rt.connect(base_url=server.url) as session:
    session.update(audio={"input": {"turn_detection": None}})
"""


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    with Pulse(tmp_path) as pulse:
        yield pulse


def program(pulse: Pulse, code: str) -> "subprocess.Popen[str]":
    return pulse.start("-c", PREFACE + textwrap.indent(textwrap.dedent(code), "    "))


def said(process: "subprocess.Popen[str]", *words: str) -> None:
    """The program says this next."""
    assert process.stdout is not None
    for word in words:
        line = process.stdout.readline()
        assert line == f"{word}\n", (line, process.communicate(timeout=ENOUGH))


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def ended(process: "subprocess.Popen[str]") -> None:
    out, err = process.communicate(timeout=ENOUGH)
    assert (process.returncode, out) == (0, ""), err


def test_unplugged(pulse: Pulse) -> None:
    """A microphone that is unplugged says so; when it is there again it can be started again."""
    process = program(
        pulse,
        """
        microphone, speaker = Microphone(session, "mic"), Speaker("speaker")
        microphone.start()
        hears()
        say("hears")
        until(lambda: microphone.failure and speaker.failure)
        assert "'mic' has stopped by itself; it may have been unplugged" in str(microphone.failure)
        say("failed")
        with microphone:
            hears()
        speaker.close()
        """,
    )
    said(process, "hears")
    pulse.unplug()
    go_on(process)
    said(process, "failed")
    pulse.plug_in()
    go_on(process)
    ended(process)


def test_suspended(pulse: Pulse) -> None:
    """A microphone that stands still is a failure as long as it does."""
    process = program(
        pulse,
        """
        vars(devices)["_STALLED"] = 1.0
        with Microphone(session, "mic") as microphone:
            hears()
            say("hears")
            until(lambda: microphone.failure)
            assert "has stood still for 1 s; it may be suspended" in str(microphone.failure)
            say("failed")
            hears()
            assert microphone.failure is None
        """,
    )
    said(process, "hears")
    pulse.pactl("suspend-sink", "room", "1")
    go_on(process)
    said(process, "failed")
    pulse.pactl("suspend-sink", "room", "0")
    go_on(process)
    ended(process)


def test_echo(pulse: Pulse) -> None:
    """With real timing, what the speaker plays is not in what the microphone sends."""
    pytest.importorskip("pywebrtc_audio")
    process = program(
        pulse,
        f"""
        speech = read_wav({str(QUESTION)!r})
        seconds = 4 * len(speech) // 48_000
        loud = {{}}
        for echo in ("off", "cancel"):
            with Speaker("speaker", latency=0.15) as speaker:
                with Microphone(session, "mic", latency=0.1, echo=echo, speaker=speaker) as microphone:
                    hears()
                    before = len(server.audio_received)
                    speaker.write(speech * 4)
                    hears(seconds * 48_000)
                    loud[echo] = audio.level(server.audio_received[before + 3 * 48_000:])
        assert loud["off"] > -30, loud
        assert loud["cancel"] < loud["off"] - 15, loud
        """,
    )
    ended(process)


def test_talk(pulse: Pulse) -> None:
    """A talk whose microphone is unplugged ends, and says why in one line."""
    devices = ["--input-device", "mic", "--output-device", "speaker"]
    process = pulse.start("-c", TALK, "talk", "--local", *devices)
    said(process, "hears")
    pulse.unplug()
    out, err = process.communicate(timeout=ENOUGH)
    assert (process.returncode, out) == (1, "")
    lines = [line for line in err.splitlines() if line.startswith("realtime-sync: ")]
    assert len(lines) == 1
    assert "has stopped by itself; it may have been unplugged" in lines[0]


# Says when the microphone has begun to send.
TALK = """
import sys
from realtime_sync.cli.main import main
from realtime_sync.voice import Microphone

def start(self, start=Microphone.start):
    start(self)
    print("hears", flush=True)

Microphone.start = start
sys.exit(main())
"""

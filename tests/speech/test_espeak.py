"""A voice by the program espeak-ng; by one of ours where it has to misbehave."""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from realtime_sync.speech.espeak import EspeakVoice
from realtime_sync.speech.voices import Sentence

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
posix = pytest.mark.skipif(os.name != "posix", reason="the program is a script")


def program(folder: Path, script: str) -> str:
    """A program that does this in Python, unless it is only asked whether it knows the voice."""
    path = folder / "speaks"
    path.write_text(f"#!{sys.executable}\nimport sys, os\nif '-q' not in sys.argv:\n    {script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def wav(seconds: int) -> str:
    """Python that writes a WAV file of a length that its header doesn't know, as espeak-ng does."""
    header = (
        b"RIFF$\xf0\xff\x7fWAVEfmt \x10\0\0\0\1\0\1\0\xc0\x5d\0\0\x80\xbb\0\0\2\0\x10\0data\0\xf0\xff\x7f"
    )
    return f"sys.stdout.buffer.write({header!r} + b'ab' * {24_000 * seconds}); sys.stdout.flush()"


@needs_espeak
@pytest.mark.parametrize(("audio_format", "rate"), [("audio/pcm", 48_000), ("audio/pcmu", 8000)])
def test_it_speaks(audio_format: str, rate: int) -> None:
    """In chunks of 100 ms, in any language it has."""
    for voice, text in (("en", "Good morning to you."), ("de", "Guten Morgen, -h < 'Welt'.")):
        chunks = list(EspeakVoice(voice=voice).speak(Sentence(text, audio_format)))
        assert {len(chunk) for chunk in chunks[:-1]} == {rate // 10}
        assert rate < sum(map(len, chunks)) < 4 * rate


@needs_espeak
def test_speed_and_nothing() -> None:
    """Faster is shorter, and of nothing there is nothing."""
    voice = EspeakVoice()
    slow, fast = (sum(map(len, voice.speak(Sentence("Good morning.", speed=speed)))) for speed in (0.25, 1.5))
    assert fast < slow
    assert list(voice.speak(Sentence(""))) == []


@needs_espeak
def test_a_voice_that_it_does_not_know() -> None:
    """That is seen at once, with what the program says."""
    with pytest.raises(ValueError, match=r"can't speak in the voice 'xx': .*does not exist"):
        EspeakVoice(voice="xx")


def test_a_program_that_is_missing() -> None:
    """The message says what to install."""
    with pytest.raises(
        FileNotFoundError, match="no program 'no-such-espeak' on this machine: install espeak-ng"
    ):
        EspeakVoice("no-such-espeak")


@posix
def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    """A file that is no program is told apart."""
    path = tmp_path / "speaks"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    with pytest.raises(ValueError, match="can't speak by"):
        EspeakVoice(str(path))


@posix
def test_the_text_is_no_argument(tmp_path: Path) -> None:
    """It comes on standard input, so no text is taken for an option, nor seen in the list of processes."""
    script = f"assert sys.stdin.read() == '--help é', sys.argv; assert '--help é' not in sys.argv; {wav(1)}"
    voice = EspeakVoice(program(tmp_path, script))
    assert b"".join(voice.speak(Sentence("--help é"))) == b"ab" * 24_000


@posix
def test_the_program_ends_with_the_generator(tmp_path: Path) -> None:
    """Who does not want the rest does not wait for it."""
    note = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    script = f"{note}; {wav(1)}; import time; time.sleep(600)"
    audio = EspeakVoice(program(tmp_path, script)).speak(Sentence("Long."))
    assert len(next(iter(audio))) == 4800
    audio.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@posix
@pytest.mark.parametrize("before", ["pass", wav(1)])
def test_a_program_that_fails(tmp_path: Path, before: str) -> None:
    """Before or behind its audio: what it complained of is told."""
    voice = EspeakVoice(program(tmp_path, f"{before}; sys.exit('no\\nbreath')"))
    with pytest.raises(RuntimeError, match="speaks failed: no breath"):
        list(voice.speak(Sentence("Good morning.")))

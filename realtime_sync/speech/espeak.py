"""A voice by the program espeak-ng, which speaks some hundred languages, if it is on this machine."""

import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

from ..sound.wav import wav_chunks
from .voices import Sentence

__all__ = ["EspeakVoice"]

_WORDS_PER_MINUTE = 175  # at speed 1.0, which is espeak-ng's default
_SLOWEST, _FASTEST = 80, 450  # what espeak-ng takes
_LONGEST = 300  # characters of what it complains of that are repeated


class EspeakVoice:
    """Speaks by a program that is started for each sentence, and gets the text on its standard input.

    It has the one voice, whatever `Sentence.voice` says.

    Args:
        program: Its name or path.
        voice: As the program calls it: a language such as ``"de"``, or one of ``espeak-ng --voices``.

    Raises:
        FileNotFoundError: There is no such program.
        ValueError: It doesn't know the voice, or can't be run.
    """

    def __init__(self, program: str = "espeak-ng", voice: str = "en") -> None:
        found = shutil.which(program)
        if found is None:
            raise FileNotFoundError(
                f"no program {program!r} on this machine: install espeak-ng, for example by "
                '"apt install espeak-ng" or "brew install espeak-ng"'
            )
        self._command = [found, "-b", "1", "-v", voice, "--stdin"]  # 1: the text is UTF-8
        self._check(voice)

    def _check(self, voice: str) -> None:
        """Say nothing, which shows whether the program knows the voice."""
        try:
            ended = subprocess.run([*self._command, "-q"], input=b"", capture_output=True, timeout=10)
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise ValueError(f"can't speak by {self._command[0]}: {error}") from error
        if ended.returncode:
            raise ValueError(f"can't speak in the voice {voice!r}: {_shown(ended.stderr)}")

    def speak(self, sentence: Sentence) -> Iterator[bytes]:
        """Yield the audio in chunks of 100 ms.  The program ends with the last one, or when this is closed.

        Raises:
            RuntimeError: The program failed.
        """
        speed = min(max(round(_WORDS_PER_MINUTE * sentence.speed), _SLOWEST), _FASTEST)
        with (
            tempfile.TemporaryFile() as text,  # files can't fill up, as pipes do
            tempfile.TemporaryFile() as stderr,
        ):
            text.write(sentence.text.encode(errors="replace"))
            text.seek(0)
            command = [*self._command, "-s", str(speed), "--stdout"]
            with subprocess.Popen(command, stdin=text, stdout=subprocess.PIPE, stderr=stderr) as process:
                try:
                    yield from _audio(process, sentence.audio_format)
                finally:
                    process.kill()  # if the rest is not wanted
            if process.returncode > 0:
                stderr.seek(0)
                raise RuntimeError(f"{self._command[0]} failed: {_shown(stderr.read())}")


def _audio(process: "subprocess.Popen[bytes]", audio_format: str) -> Iterator[bytes]:
    """Yield the audio that a program writes, and wait for its end."""
    output = process.stdout
    assert isinstance(output, io.BufferedReader)
    if output.peek(1):  # of nothing to say, there is not even a header
        yield from wav_chunks(output, 100, audio_format)
    process.wait()


def _shown(stderr: bytes) -> str:
    """Return what a program complained of, on one line."""
    return " ".join(stderr.decode(errors="replace").split())[-_LONGEST:] or "it doesn't say why"

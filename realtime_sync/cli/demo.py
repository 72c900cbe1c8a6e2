"""``demo``: a spoken talk with the local server, from the first word to the last, with its latencies."""

import argparse
import json
import time
from collections.abc import Iterator

from .. import events as ev
from ..client import connect
from ..events import ServerEvent
from ..session import Session
from ..sound.formats import bytes_of, bytes_per_second, samples_of, silence
from ..speech.voices import Sentence, Voice
from . import status
from .screen import complain
from .sound_files import check_output
from .stereo import StereoRecording

__all__ = ["add_arguments", "run"]

_QUESTIONS = ["What time is it?", "What is the weather in Oslo?"]
_CHUNK_SECONDS = 0.02
_RATE = bytes_per_second("audio/pcm")
_CHUNK = round(_RATE * _CHUNK_SECONDS)
_PATIENCE = 20.0  # seconds for one answer
_AUDIBLE = 300  # of 32,767: a sample that belongs to a word
_WEATHER = ev.FunctionTool(
    name="get_weather",
    description="The weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``demo``."""
    parser.description = (
        "Hold a spoken talk with a local server that hears and speaks by itself, without a key and without a "
        "network (needs the extras 'local' and 'speech').  It speaks each question, sends it as a microphone "
        "would, shows what either side says, and how long each step took."
    )
    parser.add_argument("questions", nargs="*", metavar="TEXT", help=f"default: {' '.join(_QUESTIONS)}")
    parser.add_argument(
        "--output",
        metavar="FILE.wav",
        default="demo.wav",
        help="where to put both sides: the questions left, the answers right (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Hold the talk: 0 if each question was answered."""
    from ..local import LocalServer  # only here: it needs the extra "local"
    from ..speech.installed import find

    check_output(options.output, None)
    speech = find(insist=True)
    assert speech.voice is not None
    print(f"The local server {speech.description}.  Loading the models ...", flush=True)
    for model in speech.parts.values():
        getattr(model, "warm_up", lambda: None)()
    questions = [_spoken(speech.voice, question) for question in options.questions or _QUESTIONS]
    recording = StereoRecording()
    with (
        LocalServer(**speech.parts) as server,
        connect(base_url=server.url, api_key="local") as session,
    ):
        transcription = ev.AudioTranscription(model="local")
        session.update(
            audio=ev.AudioConfig(input=ev.AudioInputConfig(transcription=transcription)), tools=[_WEATHER]
        )
        answered = [_Turn(session, recording).hold(question) for question in questions]
    recording.save(options.output)
    print(f"\nBoth sides are in {options.output}: {recording.seconds:.1f} s.")
    return status.DONE if all(answered) else status.INCOMPLETE


def _spoken(voice: Voice, text: str) -> bytes:
    """Return the audio of a question, from its first to its last word.

    Raises:
        ValueError: The voice can't say it.
    """
    samples = samples_of(b"".join(voice.speak(Sentence(text))))
    heard = [n for n, sample in enumerate(samples) if abs(sample) > _AUDIBLE]
    if not heard:
        raise ValueError(f"expected a question in English words, which the voice can say; got {text!r:.80}")
    return bytes_of(samples[heard[0] : heard[-1] + 1])


class _Turn:
    """One question and its answer."""

    def __init__(self, session: Session, recording: StereoRecording) -> None:
        self._session = session
        self._recording = recording
        self._steps: dict[str, float] = {}  # what has happened, and when
        self._asked = 0.0  # when the last word was sent
        self._open = False  # the server's line is not ended
        self._answered = False

    def hold(self, question: bytes) -> bool:
        """Ask, and wait for the end of what is said to it.  Return whether there was an answer."""
        print(flush=True)
        begun = time.monotonic()
        asked, last = begun + len(question) / _RATE, begun + len(question) / _RATE + _PATIENCE
        self._asked = asked
        for chunk in _as_from_a_microphone(question):
            self._session.input_audio_buffer.append(chunk)
            begun += _CHUNK_SECONDS
            self._recording.user(chunk)
            if self._take_events(begun) or begun > last:
                break
        self._finish()
        return self._answered

    def _take_events(self, until: float) -> bool:
        """Handle what comes until a time.  Return whether the answer is over, and was heard."""
        while True:
            try:
                event = self._session.next_event(timeout=max(until - time.monotonic(), 0.0))
            except TimeoutError:
                return self._answered and self._recording.is_quiet
            self._take(event)

    def _take(self, event: ServerEvent) -> None:
        match event:
            case ev.InputAudioBufferCommitted():
                self._step("end of the turn found")
            case ev.ConversationItemInputAudioTranscriptionCompleted():
                self._step("words known")
                print(f"you:    {event.transcript}", flush=True)
            case ev.ResponseOutputAudioTranscriptDelta():
                print(event.delta if self._open else f"server: {event.delta}", end="", flush=True)
                self._open = True
            case ev.ResponseOutputAudioDelta():
                self._step("first audio")
                self._recording.model(event.delta)
            case ev.ResponseFunctionCallArgumentsDone():
                self._call(event)
            case ev.ResponseDone():
                self._done(event.response)
            case ev.ErrorEvent():
                complain(event.error.message or event.error.code)

    def _step(self, name: str) -> None:
        self._steps.setdefault(name, time.monotonic() - self._asked)

    def _call(self, event: ev.ResponseFunctionCallArgumentsDone) -> None:
        """Answer a call as a program would; the weather is made up."""
        print(f"        calls {event.name}({event.arguments})", flush=True)
        output = f"Seven degrees and clear in {json.loads(event.arguments).get('city')}."
        self._session.conversation.item.create(ev.FunctionCallOutput(call_id=event.call_id, output=output))
        self._session.response.create(when_idle=True)  # once the response that calls is over

    def _done(self, response: ev.Response) -> None:
        said = [item for item in response.output or [] if isinstance(item, ev.Message)]
        if said:
            self._answered = response.status == "completed"
        if response.status not in ("completed", "cancelled"):
            complain(f"the response is {response.status}")

    def _finish(self) -> None:
        if self._open:
            print(flush=True)
        if not self._answered:
            complain(f"no answer within {_PATIENCE:g} s")
        steps = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self._steps.items())
        print(f"        after the last word: {steps}", flush=True)


def _as_from_a_microphone(question: bytes) -> Iterator[bytes]:
    """Yield the question in chunks, and then silence without end."""
    for start in range(0, len(question), _CHUNK):
        chunk = question[start : start + _CHUNK]
        yield chunk + bytes(_CHUNK - len(chunk))
    while True:
        yield silence(_CHUNK_SECONDS)

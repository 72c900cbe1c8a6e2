"""Other people's voice clients talk with the local server, as they are: openai-agents and Pipecat.

The extra `dev` does not have them: `pip install openai-agents pipecat-ai`. Without, these tests are skipped.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from talking import spoken, transcript, voice, words

from realtime_sync.local import LocalServer
from realtime_sync.sound.formats import silence
from realtime_sync.speech.moonshine import MoonshineTranscriber
from realtime_sync.speech.silero import SileroDetector

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # theirs are not ours
]

SECONDS = 60.0
"""After which a talk has failed."""

CHUNK = 960
"""Bytes of 20 ms."""

QUESTION = "What is the weather in Oslo?"
WEATHER = "The sun is shining."
ANSWER = f"The function answered: {WEATHER}"
LONG = "Who are you?"
"""What is answered at length."""


@pytest.fixture
def hearing() -> MoonshineTranscriber:
    return MoonshineTranscriber()


@pytest.fixture
def server(hearing: MoonshineTranscriber) -> Iterator[LocalServer]:
    """A server that hears and speaks, at the pace of a live one: answers can be interrupted."""
    with LocalServer(
        transcriber=hearing, voice=voice(), detector=SileroDetector, realtime_pace=True
    ) as server:
        yield server


class Microphone:
    """Sends audio in real time: what is said, and silence for the rest of the time."""

    def __init__(self) -> None:
        self._audio = b""

    def say(self, text: str) -> None:
        self._audio += spoken(text)

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            chunk, self._audio = self._audio[:CHUNK], self._audio[CHUNK:]
            await send(chunk or silence(0.02))
            due += 0.02
            await asyncio.sleep(due - loop.time())


async def until(events: AsyncIterator[Any], wanted: str) -> list[Any]:
    """Return the events up to one of a type."""
    seen = []
    async for event in events:
        assert event.type != "error", event
        seen.append(event)
        if event.type == wanted:
            break
    return seen


def test_openai_agents(server: LocalServer, hearing: MoonshineTranscriber) -> None:
    """An agent is asked, calls its function, is heard, and is interrupted; its URL need not name a model."""
    agents, realtime = pytest.importorskip("agents"), pytest.importorskip("agents.realtime")
    agents.set_tracing_disabled(True)
    cities: list[str] = []

    def get_weather(city: str) -> str:
        """Tell the weather."""
        cities.append(city)
        return WEATHER

    async def talk() -> bytes:
        agent = realtime.RealtimeAgent(name="Weather", tools=[agents.function_tool(get_weather)])
        address = {"api_key": "any", "url": f"{server.url}/realtime"}
        async with await realtime.RealtimeRunner(agent).run(model_config=address) as session:
            microphone, events = Microphone(), aiter(session)
            sending = asyncio.create_task(microphone.run(session.send_audio))
            microphone.say(QUESTION)
            answer = await until(events, "audio_end")
            microphone.say(LONG)
            await until(events, "agent_start")  # of its response
            await until(events, "audio")
            microphone.say(QUESTION)
            await until(events, "audio_interrupted")
            await until(events, "audio_end")
            sending.cancel()
        return b"".join(event.audio.data for event in answer if event.type == "audio")

    audio = asyncio.run(asyncio.wait_for(talk(), SECONDS))
    assert words(transcript(hearing, audio)) == words(ANSWER)
    assert cities[0] == "Oslo"


def test_pipecat(server: LocalServer, hearing: MoonshineTranscriber) -> None:
    """A pipeline is asked, calls its function, is heard, and is interrupted."""
    pytest.importorskip("pipecat")
    frames = pytest.importorskip("pipecat.frames.frames")
    aggregators = pytest.importorskip("pipecat.processors.aggregators.llm_response_universal")
    contexts = pytest.importorskip("pipecat.processors.aggregators.llm_context")
    pipelines = pytest.importorskip("pipecat.pipeline.pipeline")
    workers = pytest.importorskip("pipecat.pipeline.worker")
    runners = pytest.importorskip("pipecat.workers.runner")
    events = pytest.importorskip("pipecat.services.openai.realtime.events")
    services = pytest.importorskip("pipecat.services.openai.realtime.llm")
    kinds = (
        frames.TTSAudioRawFrame, frames.TTSStoppedFrame, frames.InterruptionFrame, frames.ErrorFrame,
    )  # fmt: skip
    cities: list[str] = []

    async def get_weather(params: Any, city: str) -> None:
        """Tell the weather.

        Args:
            city: Where.
        """
        cities.append(city)
        await params.result_callback(WEATHER)

    async def talk() -> tuple[bytes, list[Any]]:
        audio = events.AudioConfiguration(
            input=events.AudioInput(
                transcription=events.InputAudioTranscription(), turn_detection=events.TurnDetection()
            )
        )
        properties = events.SessionProperties(audio=audio, tools=[get_weather])
        Service = services.OpenAIRealtimeLLMService  # noqa: N806
        settings = Service.Settings(session_properties=properties)
        llm = Service(api_key="any", base_url=f"{server.url}/realtime", settings=settings)
        context = contexts.LLMContext()
        pair = aggregators.LLMContextAggregatorPair(context)
        worker = workers.PipelineWorker(pipelines.Pipeline([pair.user(), llm, pair.assistant()]))
        worker.set_reached_downstream_filter(kinds)
        came: asyncio.Queue[Any] = asyncio.Queue()
        worker.add_event_handler("on_frame_reached_downstream", lambda _, frame: came.put_nowait(frame))

        async def until(kind: Any) -> list[Any]:
            seen = [await came.get()]
            while not isinstance(seen[-1], kind):
                assert not isinstance(seen[-1], frames.ErrorFrame), seen[-1]
                seen.append(await came.get())
            return seen

        async def send(chunk: bytes) -> None:
            await worker.queue_frame(frames.InputAudioRawFrame(chunk, sample_rate=24_000, num_channels=1))

        runner = runners.WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running, microphone = asyncio.create_task(runner.run()), Microphone()
        sending = asyncio.create_task(microphone.run(send))
        try:
            await worker.queue_frame(frames.LLMRunFrame())
            await until(frames.TTSStoppedFrame)  # it greets
            microphone.say(QUESTION)
            answer = await until(frames.TTSStoppedFrame)
            microphone.say(LONG)
            await until(frames.TTSAudioRawFrame)
            microphone.say(QUESTION)
            await until(frames.InterruptionFrame)
            await until(frames.TTSAudioRawFrame)
            await until(frames.TTSStoppedFrame)
        finally:
            sending.cancel()
            await worker.cancel()
            await running
        heard = b"".join(frame.audio for frame in answer if isinstance(frame, frames.TTSAudioRawFrame))
        return heard, context.get_messages()

    audio, messages = asyncio.run(asyncio.wait_for(talk(), SECONDS))
    assert words(transcript(hearing, audio)) == words(ANSWER)
    assert cities[0] == "Oslo"
    assert [message["content"] for message in messages if message["role"] == "user"] == [
        QUESTION, LONG, QUESTION,
    ]  # fmt: skip

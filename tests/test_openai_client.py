"""OpenAI's own Python client against the local server, over real sockets.

Every scenario is written once and runs with both clients, the plain one and the asyncio one.  What the
server sends is checked against the client's own models on the way: each event must be one that the client
knows, with all that its model requires and nothing that its model doesn't have.
"""

import asyncio
import base64
import contextlib
import functools
import inspect
import json
import math
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, get_args

import openai
import pydantic
import pytest
from openai.types import realtime
from openai.types.beta import realtime as beta_realtime
from talking import spoken, transcript, voice, words

from realtime_sync.local import LocalServer, Responder, ScriptedResponder
from realtime_sync.speech.moonshine import MoonshineTranscriber
from realtime_sync.speech.silero import SileroDetector

# The client opens connections in a way that websockets 17 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:connect\(\) must be used as a context manager:DeprecationWarning"
)

SECONDS = 30.0
"""After which a scenario has failed."""

MANUAL: dict[str, Any] = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
TEXT: dict[str, Any] = {**MANUAL, "output_modalities": ["text"]}
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "description": "The weather now.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}

# --- Fidelity ----------------------------------------------------------------------------------------

Models = dict[str, type[pydantic.BaseModel]]


def models_of(union: Any) -> Models:
    """The models of a union of events, by ``type``."""
    models = get_args(get_args(union)[0])
    return {tag: model for model in models for tag in get_args(model.model_fields["type"].annotation)}


GA = models_of(realtime.RealtimeServerEvent)
TRANSLATION = models_of(realtime.RealtimeTranslationServerEvent)
BETA = models_of(beta_realtime.RealtimeServerEvent)

NOT_IN_THE_MODELS = {
    # GA: what the real server adds to the settings
    *("session.id", "session.object", "session.expires_at"),
    # Beta: what the specification has, and the client's older models haven't
    *("session.include", "session.prompt", "session.truncation", "session.turn_detection.idle_timeout_ms"),
    "response.usage.input_token_details.image_tokens",
    "response.usage.input_token_details.cached_tokens_details",
}


def assert_faithful(event: Any, frame: dict[str, Any], models: Models) -> None:
    """The event is of the class that the client has for it, is valid, and holds nothing more."""
    assert type(event) is models[frame["type"]]
    assert_complete(type(event), frame)


def assert_complete(model: type[pydantic.BaseModel], data: dict[str, Any]) -> None:
    """The data is all that the model requires, and nothing that it hasn't.  The client doesn't look."""
    assert set(extras(model.model_validate(data), "")) <= NOT_IN_THE_MODELS, data


def extras(value: Any, path: str) -> Iterator[str]:
    """The paths of all fields that the client's models don't have."""
    if isinstance(value, list):
        for part in value:
            yield from extras(part, f"{path}[]")
    elif isinstance(value, pydantic.BaseModel):
        for name, part in value:
            at = f"{path}.{name}".lstrip(".")
            if name in (value.model_extra or {}):
                yield at
            else:
                yield from extras(part, at)


# --- Both clients ------------------------------------------------------------------------------------

Scenario = Callable[..., Coroutine[Any, Any, None]]


def run(scenario: Scenario) -> Callable[..., None]:
    """Makes a test of a coroutine."""

    @functools.wraps(scenario)
    def test(**fixtures: Any) -> None:
        asyncio.run(scenario(**fixtures))

    return test


async def done(result: Any) -> Any:
    """The result of a call to either client."""
    return await result if inspect.isawaitable(result) else result


@pytest.fixture(params=["OpenAI", "AsyncOpenAI"])
def client_class(request: pytest.FixtureRequest) -> Any:
    return getattr(openai, request.param)


@contextlib.contextmanager
def stopped_in_time(server: LocalServer) -> Iterator[None]:
    """Ends a scenario that hangs: the client has no deadline of its own."""
    # Stops the server when the time is up, which wakes a client that waits.
    watchdog = threading.Timer(SECONDS, server.stop)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
        watchdog.join()


@contextlib.asynccontextmanager
async def client_of(client_class: Any, server: LocalServer, **options: Any) -> AsyncIterator[Any]:
    options = {"api_key": "any", "max_retries": 0, **options}
    client = client_class(base_url=server.http_url, websocket_base_url=server.url, **options)
    try:
        yield client
    finally:
        await done(client.close())


def tone(seconds: float) -> bytes:
    """Sound that is no silence: 24 kHz mono 16-bit PCM."""
    samples = (round(8000 * math.sin(2 * math.pi * 220 * n / 24_000)) for n in range(int(24_000 * seconds)))
    return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)


class Talk:
    """A connection of either client.

    Args:
        models: What the client knows of the server's events.
    """

    def __init__(self, connection: Any, models: Models | None = None) -> None:
        self.connection = connection
        self._models = models or GA

    async def send(self, type: str, **fields: Any) -> None:  # noqa: A002  # the wire's name
        await done(self.connection.send({"type": type, **fields}))

    async def next(self) -> Any:
        frame = await done(self.connection.recv_bytes())
        event = self.connection.parse_event(frame)
        assert_faithful(event, json.loads(frame), self._models)
        return event

    async def until(self, last: str) -> list[Any]:
        """The events up to the next one of type ``last``; an error ends the wait too."""
        events = [await self.next()]
        while events[-1].type not in (last, "error"):
            events.append(await self.next())
        assert events[-1].type == last, events[-1]
        return events

    async def rest(self) -> list[Any]:
        """The events until the connection has ended, as a program reads them."""
        if hasattr(self.connection, "__aiter__"):
            return [event async for event in self.connection]
        return list(self.connection)

    async def update(self, session: dict[str, Any]) -> Any:
        await done(self.connection.session.update(session=session))
        return (await self.until("session.updated"))[-1].session

    async def say(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        await done(self.connection.conversation.item.create(item=item))
        await self.until("conversation.item.done")

    async def hear(self, sound: bytes) -> None:
        """Send sound in pieces of 100 ms, as a microphone gives it."""
        for start in range(0, len(sound), 4800):
            audio = base64.b64encode(sound[start : start + 4800]).decode()
            await done(self.connection.input_audio_buffer.append(audio=audio))

    async def turn(self, **params: Any) -> list[Any]:
        await done(self.connection.response.create(**params))
        return await self.until("response.done")


@contextlib.asynccontextmanager
async def talking(
    client_class: Any, session: dict[str, Any], responder: Responder | None = None, **options: Any
) -> AsyncIterator[Talk]:
    """A session in which the settings are made."""
    with LocalServer(responder=responder, **options) as server, stopped_in_time(server):
        async with client_of(client_class, server) as client:
            connection = await done(client.realtime.connect(model="gpt-realtime").enter())
            talk = Talk(connection)
            [created] = await talk.until("session.created")
            assert created.session.model == "gpt-realtime"
            await talk.update(session)
            yield talk
            await done(connection.close())


# --- Turns -------------------------------------------------------------------------------------------


@run
async def test_text_turn(client_class: Any) -> None:
    """A text turn arrives in pieces and whole, and is counted."""
    async with talking(client_class, TEXT) as talk:
        await talk.say("How are you?")
        events = await talk.turn()
    assert [event.type for event in events if not event.type.endswith(".delta")] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "rate_limits.updated",
        "response.done",
    ]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    response = events[-1].response
    assert "How are you?" in text
    assert response.status == "completed"
    assert response.output[0].content[0].text == text
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0


@run
async def test_audio_turn(client_class: Any) -> None:
    """Sound that is appended and committed is heard, and answered with sound and its transcript."""
    async with talking(client_class, MANUAL) as talk:
        await talk.hear(tone(1.5))
        await done(talk.connection.input_audio_buffer.commit())
        committed, added, finished = await talk.until("conversation.item.done")
        events = await talk.turn()
        item_id = events[-1].response.output[0].id
        await done(talk.connection.conversation.item.retrieve(item_id=item_id))
        [retrieved] = await talk.until("conversation.item.retrieved")
    assert committed.item_id == added.item.id == finished.item.id
    deltas = [event.delta for event in events if event.type == "response.output_audio.delta"]
    heard = b"".join(base64.b64decode(delta, validate=True) for delta in deltas)
    assert len(deltas) > 1
    assert len(heard) % 2 == 0
    [part] = events[-1].response.output[0].content
    assert part.transcript == "I heard 1.5 seconds of audio."
    assert base64.b64decode(retrieved.item.content[0].audio) == heard


@run
async def test_tool_turn(client_class: Any) -> None:
    """A function is called, its result is given back, and the second response uses it."""
    async with talking(client_class, {**TEXT, "tools": [WEATHER]}) as talk:
        await talk.say('call weather {"city": "Paris"}')
        events = await talk.turn()
        [call] = events[-1].response.output
        item = {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}
        await done(talk.connection.conversation.item.create(item=item))
        await talk.until("conversation.item.done")
        answer = (await talk.turn())[-1].response
    assert call.type == "function_call"
    [arguments] = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert (arguments.name, arguments.call_id) == ("weather", call.call_id)
    assert json.loads(arguments.arguments) == json.loads(call.arguments) == {"city": "Paris"}
    assert "18 degrees" in answer.output[0].content[0].text


@run
async def test_response_beside_the_conversation(client_class: Any) -> None:
    """A response with an input of its own leaves the conversation alone."""
    async with talking(client_class, TEXT) as talk:
        content = [{"type": "input_text", "text": "Apples or pears?"}]
        item = {"type": "message", "role": "user", "content": content}
        params = {"conversation": "none", "input": [item], "metadata": {"topic": "fruit"}}
        events = await talk.turn(response=params)
    response = events[-1].response
    assert response.conversation_id is None
    assert response.metadata == {"topic": "fruit"}
    assert "Apples or pears?" in response.output[0].content[0].text
    assert not [event for event in events if event.type.startswith("conversation.")]


@run
async def test_response_that_is_too_long(client_class: Any) -> None:
    """A response ends where its tokens do."""
    async with talking(client_class, TEXT) as talk:
        await talk.say("Tell me everything.")
        response = (await talk.turn(response={"max_output_tokens": 2}))[-1].response
    assert (response.status, response.status_details.reason) == ("incomplete", "max_output_tokens")


@run
async def test_response_that_fails(client_class: Any) -> None:
    """A failure of the model is a failed response, and the next one works."""
    async with talking(client_class, TEXT, ScriptedResponder([ValueError("no"), "Yes."])) as talk:
        failed = (await talk.turn())[-1].response
        second = (await talk.turn())[-1].response
    assert (failed.status, failed.status_details.error.type) == ("failed", "server_error")
    assert second.status == "completed"


# --- Breaking off ------------------------------------------------------------------------------------

LONG = "word " * 1000


@pytest.mark.parametrize("modality", ["text", "audio"])
@run
async def test_cancel(client_class: Any, modality: str) -> None:
    """A response that is cancelled ends at once, with everything closed, and the next one works."""
    settings = {**MANUAL, "output_modalities": [modality]}
    async with talking(client_class, settings, ScriptedResponder([LONG, "Hm."]), delay=0.01) as talk:
        delta = f"response.output_{'text' if modality == 'text' else 'audio_transcript'}.delta"
        await done(talk.connection.response.create())
        events = await talk.until(delta)
        await done(talk.connection.response.cancel())
        events += await talk.until("response.done")
        second = (await talk.turn())[-1].response
    response = events[-1].response
    assert (response.status, response.status_details.reason) == ("cancelled", "client_cancelled")
    [item] = response.output
    assert item.status == "incomplete"
    opened, closed = (
        [event.type.rpartition(".")[0] for event in events if event.type.endswith(end)]
        for end in ("part.added", "part.done")
    )
    assert opened == closed
    assert second.status == "completed"


@run
async def test_cancel_nothing(client_class: Any) -> None:
    """Cancelling when nothing runs is an error that names the client's event."""
    async with talking(client_class, TEXT) as talk:
        await done(talk.connection.response.cancel(event_id="mine"))
        error = (await talk.next()).error
    assert (error.code, error.event_id) == ("response_cancel_not_active", "mine")


@run
async def test_one_response_at_a_time(client_class: Any) -> None:
    """A second response in the conversation is refused while the first one runs."""
    async with talking(client_class, TEXT, ScriptedResponder([LONG]), delay=0.01) as talk:
        await done(talk.connection.response.create())
        await talk.until("response.created")
        await done(talk.connection.response.create(event_id="mine"))
        event = await talk.next()
        while event.type != "error":
            event = await talk.next()
        await done(talk.connection.response.cancel())
        await talk.until("response.done")
    assert (event.error.code, event.error.event_id) == (
        "conversation_already_has_active_response",
        "mine",
    )


@run
async def test_truncate(client_class: Any) -> None:
    """What was not heard of the assistant's sound is forgotten; only what is there can be."""
    async with talking(client_class, MANUAL, ScriptedResponder(["A long and winding answer."])) as talk:
        await talk.say("Tell me.")
        item_id = (await talk.turn())[-1].response.output[0].id
        item = talk.connection.conversation.item
        await done(item.truncate(item_id=item_id, content_index=0, audio_end_ms=500, event_id="heard"))
        [truncated] = await talk.until("conversation.item.truncated")
        await done(item.retrieve(item_id=item_id))
        [retrieved] = await talk.until("conversation.item.retrieved")
        errors = []
        for bad in (
            {"item_id": item_id, "content_index": 0, "audio_end_ms": 60_000},
            {"item_id": item_id, "content_index": 5, "audio_end_ms": 100},
            {"item_id": "item_unknown", "content_index": 0, "audio_end_ms": 100},
        ):
            await done(item.truncate(**bad, event_id="mine"))
            errors.append((await talk.next()).error)
    assert (truncated.item_id, truncated.audio_end_ms) == (item_id, 500)
    assert len(base64.b64decode(retrieved.item.content[0].audio)) == 24_000
    assert {error.event_id for error in errors} == {"mine"}
    assert {error.type for error in errors} == {"invalid_request_error"}
    assert errors[-1].code == "item_truncate_invalid_item_id"


# --- Turns that the server detects -------------------------------------------------------------------

LISTENING: dict[str, Any] = {
    "type": "realtime",
    "audio": {
        "input": {
            "turn_detection": {"type": "server_vad", "prefix_padding_ms": 100, "silence_duration_ms": 200},
            "transcription": {"model": "gpt-4o-transcribe"},
        }
    },
}
SILENCE = bytes(24_000)
"""Half a second."""


@run
async def test_detected_turn(client_class: Any) -> None:
    """The server hears where speech starts and stops, and answers by itself."""
    async with talking(client_class, LISTENING) as talk:
        await talk.hear(SILENCE + tone(1.0) + SILENCE)
        events = await talk.until("response.done")
        while not any(event.type.endswith("transcription.completed") for event in events):
            events.append(await talk.next())
    order = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "response.created",
    ]
    started, stopped, committed, added, _ = firsts = [
        next(event for event in events if event.type == name) for name in order
    ]
    assert [events.index(event) for event in firsts] == sorted(events.index(event) for event in firsts)
    assert started.item_id == stopped.item_id == committed.item_id == added.item.id
    assert 0 < started.audio_start_ms < 500 < 1500 < stopped.audio_end_ms <= 2000
    [heard] = [event for event in events if event.type.endswith("transcription.completed")]
    assert heard.item_id == committed.item_id
    assert heard.transcript
    [response] = [event.response for event in events if event.type == "response.done"]
    assert response.status == "completed"


@run
async def test_interruption(client_class: Any) -> None:
    """Who speaks while the server does is listened to: the response is cancelled."""
    async with talking(client_class, LISTENING, ScriptedResponder([LONG, "Yes?"]), delay=0.01) as talk:
        await talk.hear(tone(0.5) + SILENCE)
        await talk.until("response.output_audio.delta")
        await talk.hear(tone(0.5) + SILENCE)
        events = await talk.until("response.done")
        answer = (await talk.until("response.done"))[-1].response
    cancelled = events[-1].response
    assert "input_audio_buffer.speech_started" in [event.type for event in events]
    assert (cancelled.status, cancelled.status_details.reason) == ("cancelled", "turn_detected")
    assert (answer.status, answer.output[0].content[0].transcript) == ("completed", "Yes?")


@pytest.mark.parametrize("client_class", [openai.OpenAI])  # one is enough: the models take seconds
@run
async def test_spoken_turn(client_class: Any) -> None:
    """A question that is spoken is written down, calls the function it means, and is answered in speech."""
    hearing = MoonshineTranscriber()
    session = {**LISTENING, "tools": [{**WEATHER, "name": "get_weather"}]}
    speech: dict[str, Any] = {"transcriber": hearing, "voice": voice(), "detector": SileroDetector}
    async with talking(client_class, session, **speech) as talk:
        await talk.hear(spoken("What is the weather in Oslo?"))
        asked = await talk.until("response.done")
        [call] = asked[-1].response.output
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "It is snowing."}
        await done(talk.connection.conversation.item.create(item=output))
        answered = await talk.turn()
    [question] = [event for event in asked if event.type.endswith("transcription.completed")]
    assert words(question.transcript) == words("What is the weather in Oslo?")
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Oslo"})
    said = answered[-1].response.output[0].content[0].transcript
    deltas = [event.delta for event in answered if event.type == "response.output_audio.delta"]
    assert said == "The function answered: It is snowing."
    assert words(transcript(hearing, b"".join(map(base64.b64decode, deltas)))) == words(said)


# --- Errors and ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        (
            {"type": "conversation.item.delete", "item_id": "item_unknown"},
            "item_delete_invalid_item_id",
            "item_id",
        ),
        (
            {"type": "conversation.item.retrieve", "item_id": "item_unknown"},
            "item_retrieve_invalid_item_id",
            "item_id",
        ),
        (
            {"type": "session.update", "session": {"type": "realtime", "colour": "red"}},
            "unknown_parameter",
            "session.colour",
        ),
        (
            {"type": "session.update", "session": {"type": "realtime", "voice": "sage"}},
            "unknown_parameter",
            "session.voice",
        ),
        (
            {"type": "session.update", "session": {"output_modalities": ["text"]}},
            "missing_required_parameter",
            "session.type",
        ),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
        ({"type": "nonsense"}, "invalid_value", "type"),
    ],
)
@run
async def test_errors(client_class: Any, event: dict[str, Any], code: str, param: str | None) -> None:
    """What can't be done is an error that names the client's event and its fault, and the session goes on."""
    async with talking(client_class, TEXT) as talk:
        await talk.send(**event, event_id="mine")
        error = (await talk.next()).error
        response = (await talk.turn())[-1].response
    assert (error.code, error.param, error.event_id) == (code, param, "mine")
    assert response.status == "completed"


@run
async def test_items(client_class: Any) -> None:
    """Items are put where the client wants them, and taken away."""
    async with talking(client_class, TEXT) as talk:
        await talk.say("One")
        content = [{"type": "input_text", "text": "Be brief."}]
        item = {"type": "message", "id": "system_1", "role": "system", "content": content}
        await done(talk.connection.conversation.item.create(item=item, previous_item_id="root"))
        added = (await talk.until("conversation.item.done"))[0]
        await done(talk.connection.conversation.item.delete(item_id="system_1"))
        [deleted] = await talk.until("conversation.item.deleted")
    assert (added.type, added.previous_item_id) == ("conversation.item.added", None)
    assert added.item.id == deleted.item_id == "system_1"


class Ends:
    """Hears how sessions end."""

    def __init__(self) -> None:
        self.codes: queue.Queue[int] = queue.Queue()

    def opened(self, session: str) -> None:
        pass

    def received(self, session: str, frame: str | bytes) -> None:
        pass

    def sent(self, session: str, frame: str) -> None:
        pass

    def closed(self, session: str, code: int, reason: str) -> None:
        self.codes.put(code)


@run
async def test_client_closes(client_class: Any) -> None:
    """The client closes in the middle of a response, and the server hears of it."""
    ends = Ends()
    responder = ScriptedResponder([LONG])
    async with talking(client_class, TEXT, responder, delay=0.01, observer=ends) as talk:
        await done(talk.connection.response.create())
        await talk.until("response.output_text.delta")
        await done(talk.connection.close(code=1001, reason="enough"))
        assert ends.codes.get(timeout=SECONDS) == 1001


@run
async def test_server_closes(client_class: Any) -> None:
    """When the server stops, the client's iteration ends as after any normal end."""
    with LocalServer() as server, stopped_in_time(server):
        async with client_of(client_class, server) as client:
            connection = await done(client.realtime.connect(model="gpt-realtime").enter())
            talk = Talk(connection)
            await talk.until("session.created")
            await asyncio.to_thread(server.stop)
            rest = await talk.rest()
            await done(connection.close())
    assert rest == []


@run
async def test_wrong_key(client_class: Any) -> None:
    """A wrong key is refused before the connection becomes a session."""
    from websockets.exceptions import InvalidStatus

    with LocalServer(api_key="right") as server, stopped_in_time(server):
        async with client_of(client_class, server, api_key="wrong") as client:
            with pytest.raises(InvalidStatus) as refused:
                await done(client.realtime.connect(model="gpt-realtime").enter())
        async with client_of(client_class, server, api_key="right") as client:
            connection = await done(client.realtime.connect(model="gpt-realtime").enter())
            await Talk(connection).until("session.created")
            await done(connection.close())
    assert refused.value.response.status_code == 401


# --- HTTP --------------------------------------------------------------------------------------------


@run
async def test_ephemeral_secret(client_class: Any) -> None:
    """A secret made with the key opens a session with the settings it was made for, and nothing else."""
    with LocalServer(api_key="right") as server, stopped_in_time(server):
        async with client_of(client_class, server, api_key="right") as client:
            settings = {"type": "realtime", "instructions": "Rhyme.", "output_modalities": ["text"]}
            made = await done(
                client.realtime.client_secrets.create(
                    session=settings, expires_after={"anchor": "created_at", "seconds": 60}
                )
            )
        async with client_of(client_class, server, api_key=made.value) as client:
            connection = await done(client.realtime.connect(model="gpt-realtime").enter())
            talk = Talk(connection)
            [created] = await talk.until("session.created")
            response = (await talk.turn())[-1].response
            await done(connection.close())
            with pytest.raises(openai.AuthenticationError) as refused:
                await done(client.realtime.client_secrets.create())
    assert_complete(realtime.ClientSecretCreateResponse, made.to_dict())
    assert made.value.startswith("ek_")
    assert made.session.instructions == created.session.instructions == "Rhyme."
    assert response.output_modalities == ["text"]
    assert refused.value.request_id


@run
async def test_secret_for_wrong_settings(client_class: Any) -> None:
    """Settings that a session couldn't have are refused before there is one."""
    with LocalServer() as server, stopped_in_time(server):
        async with client_of(client_class, server) as client:
            session = {"type": "realtime", "audio": {"output": {"speed": 9}}}
            with pytest.raises(openai.BadRequestError) as refused:
                await done(client.realtime.client_secrets.create(session=session))
    assert refused.value.param == "session.audio.output.speed"
    assert refused.value.code == "invalid_value"
    assert refused.value.request_id


@run
async def test_call(client_class: Any) -> None:
    """A call is accepted, listened to, and hung up, which ends the session."""
    with LocalServer() as server, stopped_in_time(server):
        call_id = server.create_call()
        async with client_of(client_class, server) as client:
            calls = client.realtime.calls
            await done(calls.accept(call_id, type="realtime", instructions="Say hello."))
            connection = await done(client.realtime.connect(call_id=call_id).enter())
            talk = Talk(connection)
            [created] = await talk.until("session.created")
            await done(calls.hangup(call_id))
            assert await talk.rest() == []
            await done(connection.close())
            with pytest.raises(openai.NotFoundError):
                await done(calls.hangup(call_id))
    assert created.session.instructions == "Say hello."


@run
async def test_call_that_is_not_taken(client_class: Any) -> None:
    """A call is rejected, or transferred."""
    with LocalServer() as server, stopped_in_time(server):
        rejected, transferred = server.create_call(), server.create_call()
        async with client_of(client_class, server) as client:
            calls = client.realtime.calls
            await done(calls.reject(rejected, status_code=486))
            await done(calls.accept(transferred, type="realtime"))
            await done(calls.refer(transferred, target_uri="tel:+14155550123"))
            with pytest.raises(openai.NotFoundError) as refused:
                await done(calls.reject("rtc_unknown"))
        assert server.call(rejected).state == "rejected"
        assert server.call(transferred).referred_to == "tel:+14155550123"
    assert refused.value.request_id


# --- Other kinds of session --------------------------------------------------------------------------


@run
async def test_transcription_session(client_class: Any) -> None:
    """A session that only listens tells what it hears."""
    with LocalServer() as server, stopped_in_time(server):
        async with client_of(client_class, server) as client:
            query = {"intent": "transcription"}
            connection = await done(client.realtime.connect(extra_query=query).enter())
            talk = Talk(connection)
            await talk.until("session.created")
            hearing = {"transcription": {"model": "gpt-4o-transcribe"}, "turn_detection": None}
            await talk.update({"type": "transcription", "audio": {"input": hearing}})
            await talk.hear(tone(1.0))
            await done(connection.input_audio_buffer.commit())
            name = "conversation.item.input_audio_transcription"
            events = await talk.until(f"{name}.completed")
            await done(connection.close())
    deltas = [event.delta for event in events if event.type == f"{name}.delta"]
    assert "".join(deltas) == events[-1].transcript != ""


@run
async def test_translation_session(client_class: Any) -> None:
    """A translation session translates what it is told, to the end, and closes when it is asked to."""
    with LocalServer() as server, stopped_in_time(server):
        async with client_of(client_class, server) as client:
            manager = client.realtime.translations.connect(model="gpt-realtime-translate")
            connection = await done(manager.enter())
            talk = Talk(connection, TRANSLATION)
            await talk.until("session.created")
            await done(connection.session.update(session={"audio": {"output": {"language": "es"}}}))
            await talk.until("session.updated")
            audio = base64.b64encode(tone(1.0) + SILENCE).decode()
            await done(connection.session.input_audio_buffer.append(audio=audio))
            await done(connection.session.close())
            events = await talk.until("session.closed")
            rest = await talk.rest()
            await done(connection.close())
    assert rest == []
    sound = [event.delta for event in events if event.type == "session.output_audio.delta"]
    assert b"".join(base64.b64decode(delta, validate=True) for delta in sound)
    assert [event for event in events if event.type == "session.output_transcript.delta"]


# --- Beta --------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def talking_beta(client_class: Any, **options: Any) -> AsyncIterator[Talk]:
    with LocalServer(**options) as server, stopped_in_time(server):
        async with client_of(client_class, server) as client:
            connection = await done(client.beta.realtime.connect(model="gpt-4o-realtime-preview").enter())
            yield Talk(connection, BETA)
            await done(connection.close())


@pytest.mark.parametrize("modality", ["text", "audio"])
@run
async def test_beta_turn(client_class: Any, modality: str) -> None:
    """The client's Beta half completes turns, in the older shape throughout."""
    async with talking_beta(client_class) as talk:
        await talk.until("conversation.created")
        modalities = ["text"] if modality == "text" else ["text", "audio"]
        session = {"modalities": modalities, "turn_detection": None, "temperature": 0.7}
        updated = await talk.update(session)
        content = [{"type": "input_text", "text": "Hello."}]
        item = {"type": "message", "role": "user", "content": content}
        await done(talk.connection.conversation.item.create(item=item))
        await talk.until("conversation.item.created")
        events = await talk.turn()
    assert (updated.modalities, updated.temperature) == (modalities, 0.7)
    response = events[-1].response
    assert response.output[0].content[0].type == modality
    words = "response.text.delta" if modality == "text" else "response.audio_transcript.delta"
    said = "".join(event.delta for event in events if event.type == words)
    [part] = response.output[0].content
    assert said == (part.text if modality == "text" else part.transcript) != ""


@run
async def test_beta_error(client_class: Any) -> None:
    """An error names the field as Beta spells it."""
    async with talking_beta(client_class) as talk:
        await talk.until("conversation.created")
        session = {"turn_detection": {"type": "server_vad", "threshold": 7}}
        await done(talk.connection.session.update(session=session, event_id="mine"))
        error = (await talk.next()).error
    assert (error.code, error.param, error.event_id) == (
        "invalid_value",
        "session.turn_detection.threshold",
        "mine",
    )


@run
async def test_beta_is_switched_off(client_class: Any) -> None:
    """A server that has switched Beta off says so and closes, as OpenAI does."""
    from websockets.exceptions import ConnectionClosedError

    async with talking_beta(client_class, sunset_beta=True) as talk:
        error = (await talk.next()).error
        with pytest.raises(ConnectionClosedError) as closed:
            await talk.rest()
    assert error.code == "beta_api_shape_disabled"
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4000

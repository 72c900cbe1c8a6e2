"""A client that asks a `RealtimeServer`."""

import threading
from collections.abc import Callable

import realtime_sync as rt
from realtime_sync.testing import RealtimeServer

DEADLINE = 60.0


ev = rt.events


SECOND = bytes(48_000)


TOOL = ev.FunctionTool(name="get_weather", parameters={"type": "object"})


def connected(server: RealtimeServer) -> rt.Session:
    session = rt.connect("gpt-realtime", base_url=server.url)
    session.update(output_modalities=["text"], instructions="Be brief and kind.", tools=[TOOL])
    return session


def ask(session: rt.Session, *said: str | bytes | rt.events.FunctionCallOutput) -> rt.events.Response:
    """Say these, and ask for a response."""
    for item in said:
        if isinstance(item, bytes):
            session.input_audio_buffer.append(item)
            session.input_audio_buffer.commit()
        else:
            session.conversation.item.create(item)
    session.response.create()
    done = session.run(rt.Visitor[None](), until=ev.ResponseDone, timeout=DEADLINE)
    assert done is not None
    return done.response


def text_of(response: rt.events.Response) -> str:
    [message] = response.output or []
    assert isinstance(message, ev.Message)
    [part] = message.content
    assert isinstance(part, ev.OutputText)
    return part.text


def failure(response: rt.events.Response) -> str:
    assert response.status == "failed"
    assert response.status_details is not None
    assert response.status_details.error is not None
    return response.status_details.error.message or ""


def output_for(response: rt.events.Response, output: str) -> rt.events.FunctionCallOutput:
    [call] = response.output or []
    assert isinstance(call, ev.FunctionCall)
    assert call.call_id
    return ev.FunctionCallOutput(call_id=call.call_id, output=output)


def user(*parts: rt.events.ContentPart) -> rt.events.Message:
    return ev.Message(role="user", content=list(parts))


def called(call_id: str) -> rt.events.FunctionCall:
    return ev.FunctionCall(call_id=call_id, name="f", arguments="{}")


def gave(call_id: str, output: str) -> rt.events.FunctionCallOutput:
    return ev.FunctionCallOutput(call_id=call_id, output=output)


def in_background(run: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=run)
    thread.start()
    return thread

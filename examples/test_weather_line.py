"""Test weather_line.py with pytest: no key, no network, no model."""

import pytest
import weather_line

import realtime_sync as rt
from realtime_sync.local import CallFunction
from realtime_sync.local.faults import CloseAfter
from realtime_sync.testing import RealtimeServer

QUESTION = bytes(72_000)  # a second and a half of silence; the test server doesn't listen to it


def test_looks_up_the_weather(realtime_server: RealtimeServer, capsys: pytest.CaptureFixture[str]) -> None:
    realtime_server.expects(audio=1.5, tools=["get_weather"], instructions="Be brief").replies(
        CallFunction("get_weather", {"city": "Oslo"})
    )
    realtime_server.expects(function_output={"city": "Oslo", "degrees": 7}).replies("7 degrees in Oslo.")
    weather_line.main(QUESTION)
    assert capsys.readouterr().out == "7 degrees in Oslo."
    assert realtime_server.audio_received == QUESTION


def test_says_why_there_is_no_answer(realtime_server: RealtimeServer) -> None:
    realtime_server.expects().replies(RuntimeError("too many questions"))
    with pytest.raises(SystemExit, match="too many questions"):
        weather_line.main(QUESTION)
    realtime_server.wait_closed()  # however it ends, it closes the connection
    assert list(realtime_server.closed.values()) == [1000]


@pytest.mark.realtime_server(faults=[CloseAfter(5, code=1011)])
def test_loses_the_connection(realtime_server: RealtimeServer) -> None:
    with pytest.raises(rt.ConnectionClosed, match="1011"):
        weather_line.main(QUESTION)
    assert len(realtime_server.received_of(rt.events.InputAudioBufferCommit)) == 1

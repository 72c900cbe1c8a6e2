"""What each request gets: an answer of the HTTP API, or a session."""

import http.client
import json
import socket
from typing import Any

import pytest
import websocket
from local_peer import DEADLINE, Peer, Watcher, connected, get, post, read_all

from realtime_sync.local import LocalServer


def test_api() -> None:
    """A secret that was posted for opens a session with the settings that it was made for."""
    with LocalServer(api_key="sk-right") as server:
        body = {"session": {"type": "realtime", "instructions": "Be brief."}}
        status, secret = post(server, "/v1/realtime/client_secrets", body, "sk-right")
        assert status == 200
        with connected(server, header=[f"Authorization: Bearer {secret['value']}"]) as peer:
            assert peer.created["session"]["instructions"] == "Be brief."
        assert post(server, "/v1/realtime/client_secrets", body, "sk-wrong")[0] == 401
        assert post(server, "/v1/realtime/client_secrets", {"x": "y" * 2_000_000}, "sk-right")[0] == 413


def test_body_in_chunks() -> None:
    """A body may come in chunks."""
    with LocalServer() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        pieces = iter([b'{"session":{"type":', b'"realtime"}}'])
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/realtime/client_secrets", pieces, headers, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, b"ek_" in answer.read()) == (200, True)
        connection.close()


@pytest.mark.parametrize("length", ["-5", "many", "1e3"])
def test_bad_content_length(length: str) -> None:
    """A length that is none is no body."""
    request = (
        f"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    )
    with (
        LocalServer() as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock,
    ):
        sock.sendall(request.encode())
        assert read_all(sock).split()[1] in (b"200", b"400", b"415")


def test_subprotocol() -> None:
    """A client that offers the subprotocol `realtime` gets it, and the key may stand beside it."""
    with LocalServer(api_key="sk-right") as server:
        offered = ["realtime", "openai-insecure-api-key.sk-right"]
        with connected(server, subprotocols=offered) as peer:
            assert peer.ws.subprotocol == "realtime"
        with connected(server, header=["Authorization: Bearer sk-right"]) as peer:
            assert peer.ws.subprotocol is None


def test_beta_and_its_sunset() -> None:
    """A client that speaks Beta gets Beta; or, after the sunset, an error and close code 4000."""
    header = ["OpenAI-Beta: realtime=v1"]
    with LocalServer() as server, connected(server, header=header) as peer:
        assert "modalities" in peer.created["session"]
    watcher = Watcher()
    with LocalServer(sunset_beta=True, observer=watcher) as server:
        ws: Any = websocket.create_connection(f"{server.url}/realtime", header=header, timeout=DEADLINE)
        error = json.loads(ws.recv())["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "beta_api_shape_disabled")
        assert ws.recv_data()[1][:2] == (4000).to_bytes(2, "big")
        ws.shutdown()
        with connected(server):
            pass
    assert (4000, "invalid_request_error.beta_api_shape_disabled") in watcher.closes


def test_transcription_session() -> None:
    """`?intent=transcription` opens a transcription session, and another path a translation."""
    with LocalServer() as server:
        for path, kind in (
            ("?intent=transcription", "transcription"),
            ("/translations?model=m", "translation"),
        ):
            ws: Any = websocket.create_connection(f"{server.url}/realtime{path}", timeout=DEADLINE)
            assert json.loads(ws.recv())["session"]["type"] == kind
            ws.close()


@pytest.mark.parametrize("by", ["request", "caller"])
def test_a_call(by: str) -> None:
    """A session that listens to a call ends when that does, and no other session."""
    with LocalServer() as server, connected(server) as other:
        call_id = server.create_call()
        status, _ = post(
            server, f"/v1/realtime/calls/{call_id}/accept", {"type": "realtime", "instructions": "Hi."}
        )
        assert status == 200
        ws: Any = websocket.create_connection(f"{server.url}/realtime?call_id={call_id}", timeout=DEADLINE)
        assert json.loads(ws.recv())["session"]["instructions"] == "Hi."
        if by == "caller":
            server.call(call_id).hang_up()
        else:
            assert post(server, f"/v1/realtime/calls/{call_id}/hangup", None)[0] == 200
        opcode, data = ws.recv_data()
        assert (opcode, data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1000).to_bytes(2, "big"))
        ws.shutdown()
        other.turn("Still there?")
        with pytest.raises(KeyError):
            server.call("rtc_unknown")


def test_stop_in_a_call() -> None:
    """Stop ends the sessions of calls as all others."""
    with LocalServer() as server:
        call_id = server.create_call("rtc_mine")
        post(server, f"/v1/realtime/calls/{call_id}/accept", {"type": "realtime"})
        ws: Any = websocket.create_connection(f"{server.url}/realtime?call_id={call_id}", timeout=DEADLINE)
        ws.recv()
        server.stop()
        server.call(call_id).hang_up()
        assert ws.recv_data()[1][:2] == (1001).to_bytes(2, "big")
        ws.shutdown()


def test_api_key() -> None:
    """With a key, only who has it is let in; the rejection doesn't repeat what was sent."""
    with LocalServer(api_key="sk-right") as server:
        for header in ([], ["Authorization: Bearer sk-wrong"], ["Authorization: Bearer sk-r\xefght"]):
            with pytest.raises(websocket.WebSocketBadStatusException) as caught:
                Peer(server, header=header)
            refusal: Any = caught.value
            assert refusal.status_code == 401
            body = json.loads(refusal.resp_body)
            assert body["error"]["code"] == "invalid_api_key"
            assert set(body["error"]) == {"message", "type", "code", "param"}
            assert b"sk-" not in refusal.resp_body
            assert refusal.resp_headers["x-request-id"].startswith("req_")
        with connected(server, header=["Authorization: Bearer sk-right"]):
            pass


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example:8765"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)
def test_pages_of_others(headers: dict[str, str]) -> None:
    """Without a key, a page of another host gets a 403: from a WebSocket, and from every address."""
    watcher = Watcher()
    with LocalServer(observer=watcher, faults=["refuse:status=429,times=1"]) as server:
        header = [f"{name}: {value}" for name, value in headers.items() if name == "Host"]
        for options in ({"origin": headers.get("Origin"), "host": headers.get("Host")}, {"header": header}):
            if not any(options.values()):
                continue
            with pytest.raises(websocket.WebSocketBadStatusException) as caught:
                Peer(server, **options)
            refusal: Any = caught.value
            assert refusal.status_code == 403
        for path in ("/", "/v1/realtime", "/v1/realtime/client_secrets", "/v1/realtime/calls/x/accept"):
            for method in ("GET", "POST", "OPTIONS"):
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
                sent = {"Content-Type": "application/json", **headers}
                connection.request(method, path, "{}", sent)
                assert connection.getresponse().status == 403
                connection.close()
    assert watcher.told == []


def test_other_paths() -> None:
    """What isn't there is a 404 with OpenAI's kind of body."""
    with LocalServer() as server:
        status, headers, body = get(server, "/v1/nothing")
        assert (status, body["error"]["type"]) == (404, "invalid_request_error")
        assert headers["x-request-id"]
        assert headers["content-type"] == "application/json"


def test_no_upgrade() -> None:
    """A plain GET is told to upgrade."""
    with LocalServer() as server:
        status, headers, body = get(server, "/v1/realtime?model=x")
        assert (status, headers["upgrade"], body["error"]["code"]) == (426, "websocket", "upgrade_required")


def test_bad_handshake() -> None:
    """An upgrade that isn't WebSocket's is rejected."""
    with LocalServer() as server:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        assert get(server, "/v1/realtime", headers)[0] == 400

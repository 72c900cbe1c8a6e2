"""What connections ask a server for."""

from typing import Any

from scripted import CREATED, Caller, Open, Script, ScriptedServer

import realtime_sync as rt


def keep_request(requests: list[str]) -> Script:
    """A script that agrees to the connection and keeps what it was asked."""

    def script(caller: Caller) -> None:
        caller.accept()
        requests.append(caller.request.decode())
        caller.serve_until_closed()

    return script


def request_of(open_session: Open, path: str = "/v1", **options: Any) -> str:
    """The request that a connection with these options makes."""
    requests: list[str] = []

    with ScriptedServer(keep_request(requests)) as server:
        server.url = server.url.removesuffix("/v1") + path
        open_session(server, **options).close()
    return requests[0]


def headers_of(request: str) -> dict[str, str]:
    return {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in request.split("\r\n")[1:])
    }


def asked(client: rt.Client, server: ScriptedServer, requests: list[str], **options: Any) -> str:
    """The request line and headers of one connection."""
    client.connect(wait=False, **options).close()
    return requests[-1]


def opens(caller: Caller) -> None:
    """A script that begins a session."""
    caller.accept()
    caller.text(CREATED)
    caller.serve_until_closed()

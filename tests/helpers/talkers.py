"""Local servers that give scripted answers, and sessions with them."""

from typing import Any

import realtime_sync as rt
from realtime_sync.local import LocalServer, ScriptedResponder


class Talkers:
    """Opens local servers and sessions with them, and ends them after the test."""

    def __init__(self) -> None:
        self._open: list[Any] = []

    def __call__(self, *answers: Any, dialect: Any = "ga", **options: Any) -> rt.Session:
        server = LocalServer(responder=ScriptedResponder(answers), **options)
        server.start()
        self._open.append(server.stop)
        session = rt.connect(base_url=server.url, dialect=dialect)
        self._open.append(session.close)
        return session

    def end(self) -> None:
        for end in reversed(self._open):
            end()

"""A local server that writes down what arrives.  ``truthful_server.py HOST CERTIFICATE.pem LEDGER.jsonl``

It prints its address, and ends with stdin.
"""

import base64
import json
import ssl
import sys
import threading
import time
from typing import Any, TextIO

from realtime_sync.local import LocalServer


class Ledger:
    """An observer that writes a line for each event: which way it went, which session's, its id and type."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()  # each session has a thread

    def opened(self, session: str) -> None:
        self._write(session=session, way="opened")

    def received(self, session: str, frame: str | bytes) -> None:
        self._event("received", session, json.loads(frame))

    def sent(self, session: str, frame: str) -> None:
        self._event("sent", session, json.loads(frame))

    def closed(self, session: str, code: int, reason: str) -> None:
        self._write(session=session, way="closed", code=code, reason=reason)

    def _event(self, way: str, session: str, event: dict[str, Any]) -> None:
        audio = len(base64.b64decode(event["audio"])) if "audio" in event and way == "received" else 0
        item = event.get("item") or {}
        text = "".join(part.get("text") or "" for part in item.get("content") or ())
        facts = {"call_id": item.get("call_id"), "item": item.get("type"), "text": text}
        self._write(
            session=session, way=way, id=event.get("event_id"), type=event["type"], audio=audio, **facts
        )

    def _write(self, **fields: Any) -> None:
        with self._lock:
            self._file.write(json.dumps({"at": time.monotonic(), **fields}) + "\n")
            self._file.flush()


def main(host: str, certificate: str, path: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with open(path, "w", encoding="utf-8") as file:
        server = LocalServer(
            host, api_key="sk-local", ssl_context=context, observer=Ledger(file), realtime_pace=True
        )
        with server:
            print(server.url, flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""``serve``: the local Realtime server."""

import argparse
import contextlib
import signal
from typing import NoReturn

__all__ = ["serve"]


def serve(options: argparse.Namespace) -> int:
    """Run the server until Ctrl-C, or until it is terminated."""
    from ..local import LocalServer, faults  # only here: it needs the extra "local"

    server = LocalServer(
        options.host,
        options.port,
        delay=options.delay,
        realtime_pace=options.realtime_pace,
        api_key=options.api_key,
        lifetime=options.lifetime,
        sunset_beta=options.sunset_beta,
        faults=[faults.parse(text) for text in options.fault],
    )
    with contextlib.suppress(ValueError):  # not the main thread: no signals there
        signal.signal(signal.SIGTERM, _interrupt)
    with contextlib.suppress(KeyboardInterrupt), server:  # Ctrl-C is how it is meant to end
        print(server.url, flush=True)
        print(f"{_key(options.api_key)}  Use it as base_url; Ctrl-C stops it.", flush=True)
        server.serve_forever()
    return 0


def _key(api_key: str | None) -> str:
    return "The key is needed." if api_key else "No key is needed."


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt

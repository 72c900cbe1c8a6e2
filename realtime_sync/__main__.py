"""The command line: ``python -m realtime_sync serve`` and ``chat``; also installed as ``realtime-sync``."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from . import __version__
from .client import connect
from .events import (
    ErrorEvent,
    ResponseDone,
    ResponseOutputTextDelta,
    ServerEvent,
)
from .exceptions import RealtimeError
from .session import Session
from .visitor import Visitor

__all__ = ["main"]

_MODEL = "gpt-realtime-2.1"
_FAILED, _INTERRUPTED = 2, 130  # exit statuses
_LIFETIME = 3600.0  # seconds that a session may last, as OpenAI's
_LOCAL_PACE = 0.04  # seconds between the local server's words, so that one sees them stream
_CANCEL_TIMEOUT = 5.0  # seconds for the server to confirm a cancelled response


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 = no answer, 2 = no session, 130 = interrupted."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except (RealtimeError, OSError, ValueError, OverflowError, ImportError) as error:
        print(f"realtime-sync: {' '.join(str(error).split())}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="realtime-sync", description="Talk to Realtime servers, or be one.")
    parser.add_argument("--version", action="version", version=f"realtime-sync {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    chat = commands.add_parser("chat", help="chat with a model in text")
    chat.add_argument("prompt", nargs="*", help="what to ask; without it, you are asked for prompts")
    chat.add_argument("--local", action="store_true", help="talk to a local server, started for this chat")
    chat.add_argument("--model", default=_MODEL, help="default: %(default)s")
    chat.add_argument("--base-url", help="default: OPENAI_BASE_URL, or OpenAI's")
    chat.set_defaults(command=_chat)

    serve = commands.add_parser("serve", help="run the local Realtime server until Ctrl-C")
    serve.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    serve.add_argument("--port", type=int, default=8765, help="default: %(default)s; 0 = a free one")
    serve.add_argument("--delay", type=float, default=0.0, help="seconds between deltas (default: 0)")
    serve.add_argument(
        "--realtime-pace", action="store_true", help="take as long over a response as a live server would"
    )
    serve.add_argument("--api-key", metavar="KEY", help="let in only who has this key (default: everyone)")
    serve.add_argument(
        "--lifetime",
        type=float,
        default=_LIFETIME,
        metavar="SECONDS",
        help="of a session (default: %(default)g)",
    )
    serve.add_argument("--sunset-beta", action="store_true", help="send Beta clients away, as OpenAI does")
    serve.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="what goes wrong, such as close:events=3,code=4000 or unknown:every=5; may be repeated",
    )
    serve.set_defaults(command=_serve)
    return parser


# --- serve ------------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> int:
    from .local import LocalServer, faults  # only here: it needs the extra "local"

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


# --- chat -------------------------------------------------------------------------------------------


class _Answer(Visitor[None]):
    """Prints an answer as it comes."""

    def visit_response_output_text_delta(self, event: ResponseOutputTextDelta) -> None:
        print(event.delta, end="", flush=True)


def _chat(options: argparse.Namespace) -> int:
    with _session(options) as session:
        session.update(output_modalities=["text"])
        if options.prompt:
            return _ask(session, " ".join(options.prompt))
        return _ask_repeatedly(session)


@contextlib.contextmanager
def _session(options: argparse.Namespace) -> Iterator[Session]:
    """A session with the local server, or with the one that the options and the environment name."""
    if not options.local:
        with connect(options.model, base_url=options.base_url) as session:
            yield session
        return
    from .local import LocalServer  # only here: it needs the extra "local"

    with (
        LocalServer(delay=_LOCAL_PACE) as server,
        connect(options.model, base_url=server.url, api_key="local") as session,
    ):
        yield session


def _ask_repeatedly(session: Session) -> int:
    print("Ctrl-C stops an answer, Ctrl-D leaves.")
    while True:
        try:
            prompt = input("> ").strip()
        except EOFError:
            print()
            return 0
        if prompt:
            _ask(session, prompt)


def _ask(session: Session, prompt: str) -> int:
    """Send a prompt and stream the answer.  Ctrl-C cancels the response; a second one leaves."""
    session.conversation.item.create(prompt)
    session.response.create()
    try:
        end = session.run(_Answer(), until=(ResponseDone, ErrorEvent))
    except RealtimeError:
        print()  # behind what there is of the answer
        raise
    except KeyboardInterrupt:
        session.response.cancel()
        session.run(_Answer(), until=ResponseDone, timeout=_CANCEL_TIMEOUT)
        print(" [cancelled]")
        return _INTERRUPTED
    print()
    return _verdict(end)


def _verdict(end: ServerEvent | None) -> int:
    """0 for a completed answer; else say what happened."""
    if isinstance(end, ErrorEvent):
        problem = end.error.message or end.error.code or end.error.type
    elif isinstance(end, ResponseDone):
        response = end.response
        if response.status == "completed":
            return 0
        details = response.status_details
        reason = details and ((details.error and details.error.message) or details.reason)
        problem = f"the response is {response.status}" + (f": {reason}" if reason else "")
    else:
        problem = "the server ended the session"
    print(f"realtime-sync: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""``chat``: a conversation in text."""

import argparse

from ..events import ErrorEvent, ResponseDone, ResponseOutputTextDelta, ServerEvent
from ..exceptions import RealtimeError
from ..session import Session
from ..visitor import Visitor
from .opening import opener
from .screen import complain, problem_of

__all__ = ["chat"]

_LOCAL_PACE = 0.04  # seconds between the local server's words, so that one sees them stream
_CANCEL_TIMEOUT = 5.0  # seconds for the server to confirm a cancelled response
_INTERRUPTED = 130  # exit status


class _Answer(Visitor[None]):
    """Prints an answer as it comes."""

    def visit_response_output_text_delta(self, event: ResponseOutputTextDelta) -> None:
        print(event.delta, end="", flush=True)


def chat(options: argparse.Namespace) -> int:
    """Ask what the options say, or what the user types."""
    with opener(options, delay=_LOCAL_PACE) as open_session, open_session(options.model) as session:
        session.update(output_modalities=["text"])
        if options.prompt:
            return _ask(session, " ".join(options.prompt))
        return _ask_repeatedly(session)


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
    problem: str | None = "the server ended the session"
    if isinstance(end, ErrorEvent):
        problem = problem_of(end.error)
    elif isinstance(end, ResponseDone):
        problem = problem_of(end.response)
    if problem is None:
        return 0
    complain(problem)
    return 1

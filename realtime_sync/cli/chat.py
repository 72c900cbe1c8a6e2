"""``chat``: a conversation in text."""

import argparse
import sys

from ..events import ErrorEvent, ResponseDone, ResponseOutputTextDelta, ServerEvent
from ..exceptions import RealtimeError
from ..session import Session
from ..visitor import Visitor
from . import opening, status, streams
from .screen import complain, hint, problem_of

__all__ = ["add_arguments", "run"]

_LOCAL_PACE = 0.04  # seconds between the local server's words, so that a person sees them stream
_CANCEL_TIMEOUT = 5.0  # seconds for the server to confirm a cancelled response


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``chat``."""
    parser.description = (
        "Chat with a model in text.  With a PROMPT, the answer to it is printed, and text that is piped in "
        'belongs to the prompt, below it:  git diff | realtime-sync chat "review this".  (Where stdin is '
        "something else, as in a loop of a script, add </dev/null.)  Without a PROMPT, each "
        "line that is piped in is a prompt, and the exit status is the worst of theirs; at a terminal you "
        "are asked for prompts.  Ctrl-C cancels the answer, a second one leaves."
    )
    parser.add_argument("prompt", nargs="*", metavar="PROMPT", help="what to ask; - is all of stdin")
    parser.add_argument("--model", default=opening.MODEL, help="default: %(default)s")
    opening.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Ask what the arguments, stdin or a person at the terminal say, and return the exit status."""
    prompt = _prompt(options.prompt) if options.prompt else None
    pace = _LOCAL_PACE if sys.stdout.isatty() else 0.0
    with opening.opener(options, delay=pace) as open_session, open_session(options.model) as session:
        session.update(output_modalities=["text"])
        if prompt is not None:
            return _ask(session, prompt)
        return _ask_a_person(session) if streams.is_terminal(sys.stdin) else _ask_lines(session)


def _prompt(words: list[str]) -> str:
    """Return the prompt of the arguments, and below it the text that is piped in.

    Raises:
        ValueError: Both are empty.
    """
    alone = words == ["-"]
    piped = streams.text(typed=alone).rstrip("\r\n")
    prompt = "\n\n".join(part for part in ("" if alone else " ".join(words), piped) if part.strip())
    if not prompt:
        raise ValueError("expected a prompt, got an empty one")
    return prompt


def _ask_lines(session: Session) -> int:
    """Ask what stdin says, a prompt a line, and return the worst status of them."""
    worst = status.DONE
    for prompt in streams.lines():
        worst = max(worst, _ask(session, prompt))
        if worst == status.INTERRUPTED:
            break
    return worst


def _ask_a_person(session: Session) -> int:
    """Ask what is typed until Ctrl-D."""
    shown = "> " if streams.is_dialogue() else ""
    if shown:
        hint("Ctrl-C stops an answer, Ctrl-D leaves.")
    while True:
        try:
            prompt = input(shown).strip()
        except EOFError:
            hint("")
            return status.DONE
        if prompt:
            _ask(session, prompt)


def _ask(session: Session, prompt: str) -> int:
    """Send a prompt and print the answer as it comes.  Ctrl-C cancels the response; a second one leaves."""
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
        print(" [cancelled]" if sys.stdout.isatty() else "")
        return status.INTERRUPTED
    print()
    return _verdict(end)


class _Answer(Visitor[None]):
    """Prints an answer as it comes."""

    def visit_response_output_text_delta(self, event: ResponseOutputTextDelta) -> None:
        print(event.delta, end="", flush=True)


def _verdict(end: ServerEvent | None) -> int:
    """Return the status of an answer that ended so; say what happened unless it is completed."""
    problem: str | None = "the server ended the session"
    if isinstance(end, ErrorEvent):
        problem = problem_of(end.error)
    elif isinstance(end, ResponseDone):
        problem = problem_of(end.response)
    if problem is None:
        return status.DONE
    complain(problem)
    return status.INCOMPLETE

"""``chat``: a conversation in text."""

import argparse
import contextlib
import io
import sys

from ..events import ServerEvent
from ..exceptions import RealtimeError
from ..redaction import printable
from ..session import Session, facts
from ..session.facts import ResponseEntry
from ..session.listener import Listener
from . import opening, status, streams
from .screen import complain, hint, problem_of

__all__ = ["add_arguments", "run"]

_LOCAL_PACE = 0.04  # seconds between the local server's words, so that a person sees them stream
_CANCEL_TIMEOUT = 5.0  # seconds for the server to confirm a cancelled response
_PATIENCE = 15.0  # seconds without an event, after an error, at which an answer is given up
_PATIENCE_AT_FIRST = 5.0  # the same, before it has begun


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
    answer = _Answer()
    try:
        answer.sent = [session.conversation.item.create(prompt), session.response.create()]
        _take(session, answer, None)
    except RealtimeError:
        print()  # behind what there is of the answer
        raise
    except KeyboardInterrupt:
        streams.discard_if_stuck()
        with contextlib.suppress(RealtimeError):  # it may have cut a frame in two, which ends the session
            session.response.cancel(if_active=True)
            _take(session, answer, _CANCEL_TIMEOUT)
        print(" [cancelled]" if sys.stdout.isatty() else "")
        return status.INTERRUPTED
    print()
    if answer.problem is not None:
        complain(answer.problem)
    return answer.status


def _take(session: Session, answer: "_Answer", timeout: float | None) -> None:
    """Take events until the answer is over, the session has ended, or none has come for too long."""
    while not answer.is_over:
        patience = timeout
        if timeout is None and answer.has_error:
            patience = _PATIENCE if answer.has_begun else _PATIENCE_AT_FIRST
        if session.run(answer, until=ServerEvent, timeout=patience) is None:
            if not session.closed:
                answer.problem = f"no answer: the server has been silent for {patience:g} s"
            return


class _Answer(Listener):
    """Prints the answer to a prompt as it comes.

    Attributes:
        sent: The ids of the events that sent the prompt; the last one asks for the answer.
        has_begun, is_over: Whether the model has begun it, and whether nothing more comes of it.
        status: The exit status.
        problem: Why the answer isn't whole; ``None`` = it is whole, or that was said already.
        has_error: Whether the server reported an error meanwhile.
    """

    handles_errors = True

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.has_begun = self.is_over = False
        self.status = status.INCOMPLETE
        self.problem: str | None = "the server ended the session"
        self.has_error = False
        self._line_ends = io.IncrementalNewlineDecoder(None, translate=True)  # a CR alone overwrites its line

    def _is_meant(self, response: ResponseEntry | None) -> bool:
        request = response.request if response is not None else None
        return request is not None and request.event_id in self.sent

    def on_response_began(self, fact: facts.ResponseBegan) -> None:
        self.has_begun = self.has_begun or self._is_meant(fact.response)

    def on_response_restarted(self, fact: facts.ResponseRestarted) -> None:
        if self._is_meant(fact.response) and self.has_begun:
            print()
            complain("the connection was lost; the answer begins again")

    def on_text(self, fact: facts.Text) -> None:
        if not fact.whole and self._is_meant(fact.part.item.response):
            print(printable(self._line_ends.decode(fact.text)), end="", flush=True)

    def on_response_ended(self, fact: facts.ResponseEnded) -> None:
        if not self._is_meant(fact.response):
            return
        self.is_over, self.problem = True, problem_of(fact)
        if self.problem is None:
            self.status = status.DONE

    def on_error(self, fact: facts.Error) -> None:
        self.has_error = self.has_error or fact.is_ours
        complain(problem_of(fact.error))

    def on_rejected(self, fact: facts.Rejected) -> None:
        if fact.sent.event_id in self.sent:
            self.is_over, self.problem = True, None

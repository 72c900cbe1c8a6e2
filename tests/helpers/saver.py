"""A program that has two turns and saves its conversation after each; something kills it in the second.

Its arguments: the server's address, the dialect, the file, and the moment: ``writing``, ``replacing`` or
``saved``.  It prints the transcript as of each save, as JSON.
"""

import json
import os
import resource
import signal
import sys
from typing import Any

import realtime_sync as rt
from realtime_sync.voice import Conversation

TURNS = ("Why is the sky blue?", "And at night?")


def kill(event: str = "", _args: Any = ()) -> None:
    """End this program as ``kill -9`` does; as an audit hook, before a file takes the place of another."""
    if event in ("", "os.rename"):
        os.kill(os.getpid(), signal.SIGKILL)


def die_while_writing() -> None:
    """Be killed by the system inside the write to a file that goes beyond 100 bytes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def main(url: str, dialect: Any, path: str, moment: str) -> None:
    with rt.connect(base_url=url, dialect=dialect) as session:
        conversation = Conversation(session)
        for turn in TURNS:
            session.conversation.item.create(turn)
            conversation.wait_for_response(session.response.create(), timeout=60)
            print(json.dumps(conversation.transcript()), flush=True)
            if turn == TURNS[-1] and moment == "writing":
                die_while_writing()
            if turn == TURNS[-1] and moment == "replacing":
                sys.addaudithook(kill)
            conversation.save(path)
        kill()


if __name__ == "__main__":
    main(*sys.argv[1:])

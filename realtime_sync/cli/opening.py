"""Where the sessions of a command come from: its arguments for that, and how they are opened."""

import argparse
import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

from ..client import connect
from ..providers import OPENAI, provider_at
from ..reconnect import Reconnect
from ..session import Session
from . import speech
from .screen import hint

__all__ = ["MODEL", "add_arguments", "opener"]

_RECONNECTS = True  # unless a command is told not to
MODEL = "gpt-realtime-2.1"
"""The model of sessions for which none is named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which server to use."""
    parser.add_argument("--local", action="store_true", help="use a local server, started for this command")
    parser.add_argument(
        "--base-url", metavar="URL", help=f"default: {OPENAI.url_variable}, or OpenAI's ({OPENAI.url})"
    )
    parser.add_argument(
        "--ca-file", metavar="FILE", help="trust these certificates (PEM) in place of the system's"
    )
    parser.add_argument(
        "--no-reconnect",
        action="store_true",
        help="end with the connection, in place of making another one and going on",
    )
    parser.add_argument(
        "--allow-insecure",
        action="store_true",
        help="send the key to another machine also without TLS, where others may read it",
    )


@contextlib.contextmanager
def opener(
    options: argparse.Namespace, reconnect: Reconnect | None = None, **local: Any
) -> Iterator[Callable[..., Session]]:
    """Yield `connect` for the server that the options and the environment name.

    With ``--local`` that is one of our own, with the settings ``local``, which runs as long as this lasts.

    Args:
        options: The arguments of the command.
        reconnect: How its sessions reconnect, unless ``--no-reconnect`` is given; ``None`` = the default.
        local: The settings of a local server; what it hears and speaks with is added to them if the command
            has the arguments for that.

    Raises:
        ImportError: Something that the local server was to hear or speak with is not installed.
        ValueError: The server needs a key, and the environment has none.
    """
    policy = (reconnect or True) if _RECONNECTS and not options.no_reconnect else False
    if not options.local:
        _check_key(options.base_url)
        yield functools.partial(
            _connect,
            base_url=options.base_url,
            ca_file=options.ca_file,
            allow_insecure=options.allow_insecure,
            reconnect=policy,
        )
        return
    from ..local import LocalServer  # only here: it needs the extra "local"

    if hasattr(options, "no_speech"):
        parts, told = speech.chosen(options)
        local |= parts
        if told:
            hint(told)
    with LocalServer(**local) as server:
        yield functools.partial(connect, base_url=server.url, api_key="local", reconnect=policy)


def _connect(*arguments: Any, **options: Any) -> Session:
    """Open a session; what is refused is said in the words of the command line."""
    try:
        return connect(*arguments, **options)
    except ValueError as error:
        text = str(error).replace("pass allow_insecure=True", "add --allow-insecure")
        raise ValueError(text) from error


def _check_key(base_url: str | None) -> None:
    """Say in the words of the command line what `connect` would say in those of a program."""
    provider = provider_at(base_url or os.environ.get(OPENAI.url_variable) or OPENAI.url)
    if provider.requires_key and not os.environ.get(provider.key_variable):
        raise ValueError(
            f"no API key: set {provider.key_variable} in the environment; "
            "to try things out without one, add --local, which starts a local server"
        )

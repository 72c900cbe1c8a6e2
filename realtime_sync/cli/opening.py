"""Where the sessions of a command come from."""

import argparse
import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from ..client import connect
from ..session import Session

__all__ = ["MODEL", "opener"]

MODEL = "gpt-realtime-2.1"
"""That sessions are opened with where none is named."""


@contextlib.contextmanager
def opener(options: argparse.Namespace, **local: Any) -> Iterator[Callable[..., Session]]:
    """`connect` for the server that the options and the environment name.

    With ``--local`` that is one of our own, with the settings ``local``, which runs as long as this lasts.
    """
    if not options.local:
        yield functools.partial(connect, base_url=options.base_url)
        return
    from ..local import LocalServer  # only here: it needs the extra "local"

    with LocalServer(**local) as server:
        yield functools.partial(connect, base_url=server.url, api_key="local")

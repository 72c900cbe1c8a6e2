"""``serve``: the local Realtime server."""

import argparse
import contextlib
import logging
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..providers import LOCAL_PORT
from . import speech, status
from .screen import complain, hint

if TYPE_CHECKING:
    from ..local import Responder

__all__ = ["add_arguments", "run"]

_KEY_VARIABLE = "REALTIME_SYNC_API_KEY"
_LIFETIME = 3600.0  # seconds that a session may last, as OpenAI's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``serve``."""
    parser.description = (
        "Run the local Realtime server until Ctrl-C.  The first line on stdout is its address, for "
        "--base-url or OPENAI_BASE_URL."
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument(
        "--port", type=_port, default=LOCAL_PORT, help="default: %(default)s; 0 = any free port"
    )
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between deltas (default: 0)")
    parser.add_argument(
        "--realtime-pace", action="store_true", help="take as long over a response as a live server would"
    )
    key = parser.add_mutually_exclusive_group()
    key.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="admit only clients with the key in this file (default: "
        f"{_KEY_VARIABLE}, or all clients of this machine)",
    )
    key.add_argument("--api-key", metavar="KEY", help="the key itself, which the list of processes shows")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="without a key, let in requests for this host and pages of it too; may be repeated",
    )
    parser.add_argument(
        "--certfile",
        metavar="FILE",
        help="serve https and wss with this certificate (PEM; others of its chain below it)",
    )
    parser.add_argument(
        "--keyfile", metavar="FILE", help="the certificate's private key (default: in --certfile)"
    )
    parser.add_argument(
        "--lifetime",
        type=float,
        default=_LIFETIME,
        metavar="SECONDS",
        help="how long a session lasts at most (default: %(default)g)",
    )
    parser.add_argument("--sunset-beta", action="store_true", help="send Beta clients away, as OpenAI does")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="what goes wrong, such as close:events=3,code=4000 or unknown:every=5; may be repeated",
    )
    _add_chat(parser)
    speech.add_arguments(parser)


def _add_chat(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say by which model it answers."""
    parser.add_argument(
        "--chat",
        metavar="URL",
        help="answer by a model behind this chat-completions endpoint, such as http://127.0.0.1:11434/v1",
    )
    parser.add_argument("--chat-model", metavar="NAME", help="the name of the model there")
    parser.add_argument("--chat-key-file", metavar="FILE", help="a file with the key that it needs")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Run the server until Ctrl-C, or until it is terminated."""
    from ..local import LocalServer, faults  # only here: it needs the extra "local"

    api_key = _key(options)
    context = _tls(options.certfile, options.keyfile)
    parts, with_what = speech.chosen(options)
    server = LocalServer(
        options.host,
        options.port,
        responder=_responder(options),
        delay=options.delay,
        realtime_pace=options.realtime_pace,
        api_key=api_key,
        allowed_hosts=options.allow_host,
        ssl_context=context,
        lifetime=options.lifetime,
        sunset_beta=options.sunset_beta,
        faults=[faults.parse(text) for text in options.fault],
        **parts,
    )
    told = contextlib.nullcontext() if options.verbose else _complaining()
    # Ctrl-C is how it is meant to end.
    with contextlib.suppress(KeyboardInterrupt), told, _terminable(), server:
        print(server.http_url if context else server.url, flush=True)
        needed = "The key" if api_key else "No key"
        if with_what:
            hint(with_what)
        hint(f"{needed} is needed.  Use it as base_url; Ctrl-C stops it.")
        server.serve_forever()
    return status.DONE


def _responder(options: argparse.Namespace) -> "Responder | None":
    """Return what answers; ``None`` = the server does by itself.

    Raises:
        ValueError: The options don't go together, or can't be used.
        OSError: The file with the key can't be read.
    """
    if options.chat is None:
        if options.chat_model is not None or options.chat_key_file is not None:
            raise ValueError("--chat-model and --chat-key-file need --chat")
        return None
    if not options.chat_model:
        raise ValueError("--chat needs --chat-model: the name that the model has there")
    from ..local import ChatResponder  # only here: most servers never need it

    key = None if options.chat_key_file is None else _key_in(options.chat_key_file)
    return ChatResponder(options.chat, options.chat_model, key)


def _tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """Return what makes the server speak TLS; ``None`` = it doesn't.

    Raises:
        ValueError: The files hold no certificate and the key for it, or there is only a key.
        OSError: One can't be read.
    """
    if certificate is None:
        if key is not None:
            raise ValueError("--keyfile needs --certfile")
        return None
    for path in (certificate, key):
        if path is not None:
            open(path, "rb").close()  # which names the file that can't be read; TLS wouldn't
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        expected = "a certificate and its private key, both in PEM and the key without a password"
        raise ValueError(f"{certificate}, {key or 'no --keyfile'}: expected {expected} ({error})") from error
    return context


def _no_password() -> NoReturn:
    """Fail in place of OpenSSL's question for a password at the terminal, which a service doesn't have."""
    raise ValueError("the private key is encrypted: expected one without a password")


def _key(options: argparse.Namespace) -> str | None:
    """Return the key that clients need, by the options or the environment.

    Raises:
        ValueError: The file holds no key.
        OSError: It can't be read.
    """
    if options.api_key is not None:
        complain(f"others can see --api-key in the list of processes: use --api-key-file or {_KEY_VARIABLE}")
        key: str = options.api_key
        return key
    if options.api_key_file is None:
        return os.environ.get(_KEY_VARIABLE) or None
    return _key_in(options.api_key_file)


def _key_in(file: str) -> str:
    """Return the key in a file.

    Raises:
        ValueError: There is none.
        OSError: It can't be read.
    """
    key = Path(file).read_text("utf-8", "replace").strip()
    if not key.isascii() or len(key.split()) != 1:
        raise ValueError(f"{file}: expected a key, in ASCII and nothing else")
    return key


class _Complaints(logging.Handler):
    """Tells in a line each what goes wrong inside the server, which no client's command could."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        with contextlib.suppress(OSError):  # stderr may be closed
            complain(f"{record.getMessage()}{f': {error!r}' if error else ''}")


@contextlib.contextmanager
def _complaining() -> Iterator[None]:
    log, handler = logging.getLogger("realtime_sync.local"), _Complaints(logging.ERROR)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """While this lasts, SIGTERM ends the server as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt

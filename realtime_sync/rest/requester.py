"""Sends one HTTP request until there is an answer.

A request is tried again, with growing pauses, as long as that can do no harm:

* if nothing of it can have arrived (the server could not be reached), or the server has turned it away
  undone (429);
* if it may have been done (no answer came, or 408, 409 or 5xx), only where doing it twice is harmless:
  making a secret, hanging up; or where you give an ``idempotency_key``, by which the server knows the
  second for the first.

What the next try would meet again (a used up quota, a certificate that is not trusted, a proxy that
refuses) is not tried again, and a server that asks for more than a minute of patience is not waited for.
"""

import logging
import os
import random
import time
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

import requests
import urllib3
from msgspec import Struct

from ..endpoint import Endpoint
from ..exceptions import error_of_status
from ..redaction import Redact, without
from ..wire.proxy import parse_proxy
from .adapter import open_pool
from .failures import Answer, Failure, lost, refusal

__all__ = ["Requester"]

_log = logging.getLogger("realtime_sync")

_MOST_ANSWER = 16 * 1024 * 1024  # bytes of an answer that are read
_PIECE = 65536  # bytes
_FIRST_PAUSE = 0.5  # seconds; doubled with each try
_LONGEST_PAUSE = 8.0  # seconds, between two tries
_PATIENCE = 60.0  # seconds that a server may ask to wait
_JSON = "application/json"
_CANT_BE_SENT = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.LocationValueError,
)


class _Request(Struct, frozen=True):
    path: str
    body: bytes
    headers: dict[str, str]
    timeout: float
    repeatable: bool


class Requester:
    """The HTTP half of one client.  Any thread may use it.

    Nothing in it changes from one request to the next, for headers and proxies are given with each and
    cookies are not kept; except the pool of connections, which urllib3 guards.

    Args:
        endpoint: Where the server is.
        prefix: What the paths begin with.
        timeout: Seconds to connect, and between two pieces of an answer.
        max_retries: How often a request is tried again.
        sleep, random: For tests.  ``random`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        prefix: str = "/realtime",
        timeout: float = 60.0,
        max_retries: int = 2,
        sleep: Callable[[float], object] = time.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._endpoint = endpoint
        self._prefix = prefix
        self._timeout = timeout
        self._max_retries = max_retries
        self._sleep = sleep
        self._random = random
        self._host = urlsplit(endpoint.base_url).hostname or ""
        self._place = urlsplit(endpoint.base_url).netloc
        self._http, self._process = open_pool(self._endpoint), os.getpid()

    def _session(self) -> requests.Session:
        """The pool of this process: a child must not write on its parent's connections."""
        if self._process != os.getpid():
            self._http, self._process = open_pool(self._endpoint), os.getpid()
        return self._http

    def close(self) -> None:
        """Give the connections back.  The next request opens new ones."""
        self._session().close()

    def post(
        self,
        path: str,
        body: bytes = b"",
        content_type: str = _JSON,
        *,
        accept: str = _JSON,
        harmless: bool = False,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Post until there is an answer, and return it if it is a success.

        Args:
            path: What follows the prefix.
            body, content_type: What to send; neither if ``body`` is empty.
            accept: What the answer should be.
            harmless: Whether doing it twice is.
            idempotency_key, timeout: See the module.

        Raises:
            APIError: It was refused, or there is no answer.
            ValueError: It can't be sent.
        """
        if timeout is not None and not timeout > 0:
            raise ValueError("timeout must be more than 0")
        if idempotency_key is not None and not idempotency_key.strip():
            raise ValueError("idempotency_key is empty")
        headers = {"Accept": accept, "Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if body:
            headers["Content-Type"] = content_type
        request = _Request(
            path=self._prefix + path,
            body=body,
            headers=headers,
            timeout=timeout or self._timeout,
            repeatable=harmless or idempotency_key is not None,
        )
        tries = 0
        while True:
            outcome = self._try(request)
            if isinstance(outcome, Answer):
                return outcome
            if tries == self._max_retries or not _may_repeat(request, outcome):
                raise outcome.error from outcome.cause
            pause = self._pause(tries, outcome.error.retry_after)
            tries += 1
            _log.info("POST %s: %s; trying again in %.1f s", request.path, outcome.error, pause)
            self._sleep(pause)

    def _pause(self, tries: int, asked: float | None) -> float:
        """Seconds before the next try: what the server asked for, or more and more, never in step."""
        if asked is not None:
            return asked
        most = min(_FIRST_PAUSE * 2.0 ** min(tries, 10), _LONGEST_PAUSE)
        return most * (1 - 0.25 * self._random())

    def _try(self, request: _Request) -> Answer | Failure:
        headers = self._endpoint.headers(request.headers)
        proxy = self._endpoint.proxy()
        redact = _redactor(self._endpoint.redactor(headers), proxy)
        problem: BaseException
        try:
            answer = self._exchange(request, headers, proxy, redact)
        except (OSError, urllib3.exceptions.HTTPError) as error:  # all of requests' errors are OSErrors
            problem = error
        else:
            return self._judge(answer, request)
        # Outside of the except clause, so that what requests raised is not the context of any error.
        if isinstance(problem, requests.exceptions.InvalidSchema):  # PySocks is missing
            raise ValueError('a SOCKS proxy needs another package: pip install "realtime-sync[socks]"')
        if isinstance(problem, _CANT_BE_SENT):
            raise ValueError(f"{self._host} can't be asked: {redact(str(problem))}")
        place = self._place + (f" through the proxy {parse_proxy(proxy, 'proxy')}" if proxy else "")
        return lost(problem, self._host, place, request.timeout, redact)

    def _judge(self, answer: Answer, request: _Request) -> Answer | Failure:
        _log.debug("POST %s: HTTP %d, request %s", request.path, answer.status, answer.request_id)
        if len(answer.body) > _MOST_ANSWER:
            message = f"the answer has more than {_MOST_ANSWER} bytes"
            return Failure(answer.error(error_of_status(answer.status), message), "never")
        return answer if 200 <= answer.status < 300 else refusal(answer)

    def _exchange(
        self, request: _Request, headers: list[tuple[str, str]], proxy: str | None, redact: Redact
    ) -> Answer:
        with self._session().post(
            self._endpoint.http_url(request.path),
            data=request.body,
            headers={name: value.strip() for name, value in headers},
            timeout=request.timeout,
            proxies={"http": proxy, "https": proxy} if proxy else {},
            allow_redirects=False,  # the key is for this server only
            stream=True,
        ) as response:
            return Answer(
                response.status_code,
                {name.lower(): value for name, value in response.headers.items()},
                _read(response),
                redact,
            )


def _may_repeat(request: _Request, failure: Failure) -> bool:
    if (failure.error.retry_after or 0) > _PATIENCE:
        return False
    return failure.again == "always" or (failure.again == "maybe" and request.repeatable)


def _read(response: requests.Response) -> bytes:
    """The body, or a little more than the most of it that is accepted."""
    body = bytearray()
    for piece in response.iter_content(_PIECE):
        body += piece
        if len(body) > _MOST_ANSWER:
            break
    return bytes(body)


def _redactor(redact: Redact, proxy: str | None) -> Redact:
    """Takes out the secrets of a request, and those of its proxy."""
    if proxy is None:
        return redact
    login = urlsplit(proxy).netloc.rpartition("@")[0]
    parsed = parse_proxy(proxy, "proxy")
    return lambda text: without(parsed.redact(redact(text)), (login, login.partition(":")[2]))

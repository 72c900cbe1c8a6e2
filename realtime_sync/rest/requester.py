"""Sends an HTTP request, and retries it as long as that can do no harm.

A request is retried, with growing pauses:

* if it can't have arrived (the server could not be reached), or the server has rejected it before it did
  anything (429);
* if it may have been carried out (no answer came, or 408, 409 or 5xx), only if it is repeatable: creating a
  secret and hanging up can be done twice without harm, and with an ``idempotency_key`` of yours the server
  recognizes the second request.

It is not retried if the next request would fail in the same way (a used up quota, an untrusted certificate,
a proxy that rejects it), or if the server asks to wait for more than a minute.  `exceptions` has the table of
statuses and errors; `failures` decides about lost answers.
"""

import logging
import os
import random
import time
import traceback
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
from .adapter import deadline, open_pool
from .failures import Answer, Failure, behind, lost, rejection

__all__ = ["Requester"]

_log = logging.getLogger("realtime_sync")

_MOST_ANSWER = 16 * 1024 * 1024  # bytes of an answer that are read
_CHUNK = 65536  # bytes
_FIRST_PAUSE = 0.5  # seconds; doubled with each retry
_LONGEST_PAUSE = 8.0  # seconds before a retry
_PATIENCE = 60.0  # seconds that a server may ask to wait before a retry
_JSON = "application/json"
# Not InvalidHeader: our own headers are checked before, so that is one of the answer's.
_CANT_BE_SENT = (requests.exceptions.InvalidURL, urllib3.exceptions.LocationValueError)


class _Request(Struct, frozen=True):
    path: str
    body: bytes
    headers: dict[str, str]
    timeout: float
    repeatable: bool


class Requester:
    """The HTTP half of one client.  Any thread may use it.

    It keeps no state from one request to the next: headers and proxies are given with each, and cookies are
    not kept.  urllib3 guards the pool of connections.

    Args:
        endpoint: Where the server is.
        prefix: The beginning of all paths.
        timeout: Seconds that one try may take, from looking up the server's name to the end of its answer.
        max_retries: How often a request is retried at most.
        sleep, random: For tests.  ``random`` returns numbers from 0 to 1.
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
        """Return the pool of this process: a child must not write on its parent's connections."""
        if self._process != os.getpid():
            self._http, self._process = open_pool(self._endpoint), os.getpid()
        return self._http

    def close(self) -> None:
        """Close the connections.  The next request opens new ones."""
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
        """Post a request, with retries, and return its answer if that is a success.

        Args:
            path: The path below the prefix.
            body, content_type: The body and its type; neither is sent if ``body`` is empty.
            accept: The type that the answer should have.
            harmless: Whether carrying it out twice does no harm.
            idempotency_key: The caller's name for this request; makes it repeatable.
            timeout: Seconds that one try may take in all; ``None`` = the usual ones.

        Raises:
            APIError: It was rejected, or there is no answer.
            ValueError: It can't be sent.
        """
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be more than 0, got {timeout!r}")
        if idempotency_key is not None and not idempotency_key.strip():
            raise ValueError("idempotency_key must not be empty or blank")
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
        retries = 0
        while True:
            outcome = self._try(request)
            if isinstance(outcome, Answer):
                return outcome
            if retries == self._max_retries or not _may_retry(request, outcome):
                raise outcome.error from outcome.cause
            pause = self._pause(retries, outcome.error.retry_after)
            retries += 1
            _log.info("POST %s: %s; retrying in %.1f s", request.path, outcome.error, pause)
            self._sleep(pause)

    def _pause(self, retries: int, asked: float | None) -> float:
        """Return the seconds before a retry: what the server asked for, else exponential with jitter."""
        if asked is not None:
            return asked
        most = min(_FIRST_PAUSE * 2.0 ** min(retries, 10), _LONGEST_PAUSE)
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
        for one in behind(problem):
            traceback.clear_frames(one.__traceback__)  # which hold connections, and would keep them open
        # Outside of the except clause, so that the error of requests is not the context of ours.
        if isinstance(problem, requests.exceptions.InvalidSchema):  # PySocks is missing
            raise ValueError('a SOCKS proxy needs another package: pip install "realtime-sync[socks]"')
        if isinstance(problem, _CANT_BE_SENT):
            raise ValueError(f"{self._host} can't be connected to: {redact(str(problem))}")
        place = self._place + (f" through the proxy {parse_proxy(proxy, 'proxy')}" if proxy else "")
        return lost(problem, self._host, place, request.timeout, redact)

    def _judge(self, answer: Answer, request: _Request) -> Answer | Failure:
        _log.debug("POST %s: HTTP %d, request %s", request.path, answer.status, answer.request_id)
        if len(answer.body) > _MOST_ANSWER:
            message = f"the answer has more than {_MOST_ANSWER} bytes"
            return Failure(answer.error(error_of_status(answer.status), message), "never")
        return answer if 200 <= answer.status < 300 else rejection(answer)

    def _exchange(
        self, request: _Request, headers: list[tuple[str, str]], proxy: str | None, redact: Redact
    ) -> Answer:
        with (
            deadline(request.timeout),
            self._session().post(
                self._endpoint.http_url(request.path),
                data=request.body,
                headers={name: value.strip() for name, value in headers},
                timeout=request.timeout,
                proxies={"http": proxy, "https": proxy} if proxy else {},
                allow_redirects=False,  # the key is for this server only
                stream=True,
            ) as response,
        ):
            return Answer(
                response.status_code,
                {name.lower(): value for name, value in response.headers.items()},
                _read(response),
                redact,
            )


def _may_retry(request: _Request, failure: Failure) -> bool:
    if (failure.error.retry_after or 0) > _PATIENCE:
        return False
    return failure.retry == "always" or (failure.retry == "if_repeatable" and request.repeatable)


def _read(response: requests.Response) -> bytes:
    """Read the body; stop as soon as it is larger than is accepted.

    Raises:
        OSError: It is lost, late, or not as HTTP demands.
    """
    body = bytearray()
    try:
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > _MOST_ANSWER:
                break
    except ValueError as error:  # of http.client, for a chunk of a negative size
        raise requests.exceptions.ChunkedEncodingError(str(error)) from error
    return bytes(body)


def _redactor(redact: Redact, proxy: str | None) -> Redact:
    """Return a function that redacts the secrets of a request and those of its proxy."""
    if proxy is None:
        return redact
    login = urlsplit(proxy).netloc.rpartition("@")[0]
    parsed = parse_proxy(proxy, "proxy")
    return lambda text: without(parsed.redact(redact(text)), (login, login.partition(":")[2]))

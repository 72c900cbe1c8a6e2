"""`Client`: where the server is and who connects; opens sessions, and holds the HTTP half of the API."""

import functools
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .endpoint import Endpoint
from .events import ErrorEvent
from .exceptions import ConnectionClosed, ConnectionFailed
from .options import (
    AzureOptions,
    ClientOptions,
    ConnectOptions,
    Options,
    check_positive,
)
from .providers import AZURE, AZURE_PREVIEW, LOCAL, LOCAL_PORT, OPENAI, Provider, provider_at
from .reconnect import Reconnect
from .redaction import Redact, Secrets, without_secrets
from .session import HASTE, Session
from .session.redial import Redial
from .session.transcript import in_dialect
from .spelling import check_options
from .wire.handshake import open_transport
from .wire.opening import Opening
from .wire.tls import tls_context
from .wire.transport import Transport

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .rest.resources import Calls, ClientSecrets, Rest, Sessions, TranscriptionSessions, Translations

__all__ = ["Client", "connect"]

_MIB = 1024 * 1024
_CLIENT_OPTIONS = frozenset(ClientOptions.__annotations__)


class Client:
    """Where a Realtime server is and who connects to it.  Opens any number of sessions; thread-safe.

    The HTTP half of the API is under the names of its paths: `client_secrets`, `calls`, `sessions`,
    `transcription_sessions` and `translations`.  `Client.azure` and `Client.local` are for servers whose
    addresses are built in another way.

    Args:
        api_key: The key, or a function that returns a fresh one, which is called for each connection
            and request; default: the environment's ``OPENAI_API_KEY``; ``""`` = no key.  An ephemeral
            secret (``ek_...``) can be used as the key.
        base_url: ``https://``, ``http://``, ``wss://`` or ``ws://``, ending like OpenAI's
            ``https://api.openai.com/v1`` (the default, after the environment's ``OPENAI_BASE_URL``).
        organization: OpenAI's organization; default: the environment's ``OPENAI_ORG_ID``; ``""`` = none.
        project: OpenAI's project; default: the environment's ``OPENAI_PROJECT_ID``; ``""`` = none.
        safety_identifier: An anonymous identifier of your user, for OpenAI's detection of abuse
            (``OpenAI-Safety-Identifier``).
        default_headers: Further headers for every connection and request.
        default_query: Further query parameters for every connection and request.
        timeout: Seconds that one try of an HTTP request may take, from looking up the server's name to the
            end of its answer (default 60).
        max_retries: How often an HTTP request is retried at most (default 2); `rest.requester` says when.
        ssl_context: For TLS; default: the system's certificates, TLS 1.2 or newer.
        ca_file: A file of certificates to trust in place of the system's.
        client_cert: A file with a certificate and its key to show to the server, or two files.
        proxy: ``"env"`` = as the environment says (``HTTPS_PROXY`` for TLS, ``HTTP_PROXY`` without,
            ``ALL_PROXY``, ``NO_PROXY``; this machine is always reached directly), ``None`` = none, or the
            URL of one: ``http://``, ``socks5://``, ``socks5h://`` or ``socks4://`` (SOCKS needs the extra
            ``socks``).
        allow_insecure: Send the key unencrypted to another machine (default: raise `ValueError`).
        log_payloads: Log the payloads of events (at level DEBUG), not just their types (default: don't).
        provider: A row of `providers`; default: the one that the host of ``base_url`` belongs to.

    Raises:
        TypeError: An option does not exist; the message names the nearest right one.
        ValueError: A setting can't be used: a URL with another scheme, a line break in a key, or a key
            for another machine without TLS and without ``allow_insecure``.
    """

    def __init__(self, **options: "Unpack[ClientOptions]") -> None:
        check_options("Client", options, ClientOptions)
        check_positive(options, "timeout")
        self._timeout = options.get("timeout", 60.0)
        self._max_retries = options.get("max_retries", 2)
        if self._max_retries < 0:
            raise ValueError(f"max_retries must not be negative, got {self._max_retries}")
        self._log_payloads = options.get("log_payloads", False)
        self._deployment: str | None = None  # Azure's name for a model
        self._provider, self._endpoint = _endpoint(options)
        # Lets one of several threads that ask for the HTTP half at once be the one that makes it.
        self._rest_lock = threading.Lock()
        self._rest_made: Rest | None = None

    @classmethod
    def azure(
        cls,
        endpoint: str | None = None,
        deployment: str | None = None,
        *,
        api_key: str | None = None,
        token_provider: Callable[[], str] | None = None,
        api_version: str | None = None,
        **options: "Unpack[AzureOptions]",
    ) -> "Self":
        """Return a client for Azure OpenAI.

        Args:
            endpoint: The resource, ``https://NAME.openai.azure.com``; default: the environment's
                ``AZURE_OPENAI_ENDPOINT``.
            deployment: What `connect` uses as the model; default: the ``model`` that is given there.
            api_key: Default: the environment's ``AZURE_OPENAI_API_KEY``, unless there is a
                ``token_provider``.
            token_provider: A function that returns a token of Entra ID; called for each connection and
                request.
            api_version: For the preview API, for example ``"2025-04-01-preview"``: it speaks the Beta
                dialect and needs a ``deployment``.  Default: the GA API.
            options: As in `Client`.

        Raises:
            TypeError: An option does not exist.
            ValueError: The endpoint, the key or the deployment is missing, or a setting can't be used.
        """
        check_options("Client.azure", options, AzureOptions)
        provider = AZURE_PREVIEW if api_version else AZURE
        endpoint = endpoint or os.environ.get(provider.url_variable)
        if not endpoint:
            raise ValueError(f"no Azure endpoint: set {provider.url_variable}, or pass endpoint=...")
        if api_key and token_provider:
            raise ValueError("give api_key or token_provider, not both")
        key = "" if token_provider else (api_key or os.environ.get(provider.key_variable) or "")
        if not key and not token_provider:
            ways = f"set {provider.key_variable}, or pass api_key=... or token_provider=..."
            raise ValueError(f"no Azure key: {ways}")
        query = {"api-version": api_version} if api_version else {}
        if provider.deployment_in_query:
            if not deployment:
                raise ValueError("the preview API (api_version=...) needs a deployment")
            query["deployment"] = deployment
        own = {provider.key_header: key} if key else {}
        options["default_headers"] = {**own, **(options.get("default_headers") or {})}
        options["default_query"] = {**query, **(options.get("default_query") or {})}
        client = cls(
            api_key=token_provider or "",
            base_url=_azure_url(endpoint, provider),
            provider=provider,
            **options,
        )
        client._deployment = deployment
        return client

    @classmethod
    def local(cls, port: int = LOCAL_PORT, *, api_key: str = "") -> "Self":
        """Return a client for the local server, as ``python -m realtime_sync serve`` runs it.

        For a server that your program runs itself, use its address: ``Client(base_url=server.url)``.

        Args:
            port: Where it listens on this machine.
            api_key: The key that it was told to expect, if any.
        """
        url = LOCAL.url.replace(str(LOCAL_PORT), str(port))
        return cls(api_key=api_key, base_url=url, provider=LOCAL, proxy=None)

    def __repr__(self) -> str:
        return f"<Client for {self._endpoint.base_url.partition('?')[0]}>"  # a query may hold a key

    # --- Sessions ----------------------------------------------------------------------------------

    def connect(self, model: str | None = None, **options: "Unpack[ConnectOptions]") -> Session:
        """Open a session, and wait until the server has announced it.

        Args:
            model: The model's name, for example ``"gpt-realtime-2.1"``.
            call_id: A phone or WebRTC call whose session to join; it has its model already.
            intent: ``"transcription"`` for a session that only transcribes.
            translation: Open a translation session; its model is, for example,
                ``"gpt-realtime-translate"``.
            client_secret: An ephemeral secret (``ek_...``) to use in place of the key.
            headers: Further headers for this connection.
            query: Further query parameters for this connection.
            dialect: ``"beta"`` for servers that speak the API's older form, ``"ga"`` for others; default:
                the provider's.  Received events are understood in both forms, whichever it is.
            wait: Wait for the server's first event, which shows whether it accepts the key (default);
                ``False`` for servers that send nothing before they receive something.
            connect_timeout: Seconds for connecting, TLS, the handshake and the first event together
                (default 10).
            send_timeout: Seconds for which nothing of what is sent may leave or arrive; then the session ends
                (default 30).
            close_timeout: Seconds that `Session.close` waits at most for the server's close frame
                (default 5).
            ping_interval: Seconds without received data after which the server is pinged (default 20);
                ``None`` = never.
            ping_timeout: Seconds without received data after a ping, after which the connection counts as
                lost (default 20); ``None`` = never.
            max_message_size: Largest message accepted, in bytes (default 64 MiB); a larger one ends the
                session with code 1009.
            max_buffered: Bytes of memory, as `Stats.buffered` counts them, of events not taken yet at which
                ``overflow`` applies (default 64 MiB).
            overflow: ``"pause"`` (default) = stop reading until you catch up: backpressure makes the
                server wait, and nothing is lost; ``"fail"`` = end the session.
            reconnect: ``True`` = when the connection is lost, make another one, restore the conversation
                there, and go on; a `Reconnect` says how.  Default: the session ends with its connection.
            conversation: Items to create at once, as `Conversation.to_items` and `Conversation.load` return
                them: the session goes on with an earlier conversation.

        Raises:
            ConnectionFailed: The server can't be reached, or rejects the connection, or ends it or sends an
                ``error`` in place of the session's first event.
            ConnectionClosed: The session ended before all of ``conversation`` was sent.
            TypeError: An option does not exist; the message names the nearest right one.
            ValueError: A setting can't be used, or OpenAI's server needs a key and there is none.
        """
        check_options("connect", options, ConnectOptions, "model")
        check_positive(options, *_POSITIVE)
        overflow = _one_of(options, "overflow", "pause", "fail")
        dialect = _one_of(options, "dialect", None, "ga", "beta") or self._provider.dialect
        policy = _policy(options)
        connect_timeout = options.get("connect_timeout", 10.0)
        deadline = time.monotonic() + connect_timeout
        url = self._url(model, options)
        secrets = Secrets()
        dial = functools.partial(self._dial, url, dialect, options, secrets)
        transport = dial()
        of = model or options.get("call_id") or self._deployment
        waits = options.get("wait", True)
        redial = None
        if policy is not None:
            is_call = bool(options.get("call_id"))
            redial = Redial(policy, dial, secrets.redact, connect_timeout, waits, possible=not is_call)
        session = None
        try:
            session = Session(
                transport,
                dialect=dialect,
                max_buffered=options.get("max_buffered", 64 * _MIB),
                overflow=overflow,
                close_timeout=options.get("close_timeout", 5.0),
                redact=secrets.redact,
                name=f"{urlsplit(url).hostname} ({of or 'no model named'})",
                log_payloads=self._log_payloads,
                redial=redial,
            )
            if waits:
                _wait_until_begun(session, deadline, secrets.redact)
            for item in options.get("conversation") or ():
                session.conversation.item.create(in_dialect(item, dialect))
        except BaseException:  # Ctrl-C too: the caller gets no session that it could close
            if session is None:
                transport.kill()
            else:  # not only its connection, in whose place it would make another one
                session.close(timeout=HASTE)
            raise
        return session

    def _dial(
        self,
        url: str,
        dialect: str,
        options: ConnectOptions,
        secrets: Secrets,
        opening: Opening | None = None,
    ) -> Transport:
        """Open a connection, with a key that is asked for anew; ``opening`` can cancel it."""
        headers = self._headers(dialect, options)
        secrets.add(self._endpoint.redactor(headers, (options.get("query") or {}).items()))
        return open_transport(
            url,
            headers=headers,
            ssl_context=self._endpoint.ssl_context,
            proxy=self._endpoint.proxy_setting,
            connect_timeout=options.get("connect_timeout", 10.0),
            redact=secrets.redact,
            opening=opening,
            max_message_size=options.get("max_message_size", 64 * _MIB),
            ping_interval=options.get("ping_interval", 20.0),
            ping_timeout=options.get("ping_timeout", 20.0),
            send_timeout=options.get("send_timeout", 30.0),
        )

    def _url(self, model: str | None, options: ConnectOptions) -> str:
        """Return the address of a session.

        Raises:
            ValueError: The options contradict each other, or can't be sent.
        """
        call_id, translation = options.get("call_id"), options.get("translation", False)
        intent = _one_of(options, "intent", None, "transcription")
        if translation and (intent or call_id):
            raise ValueError("a translation session has no intent and no call")
        if model and call_id:
            raise ValueError("give model or call_id, not both: a call has its model already")
        if model and self._deployment:
            raise ValueError("give deployment or model, not both: they are two names for one thing")
        if self._deployment and not self._provider.deployment_in_query and not call_id:
            model = self._deployment
        given = {"model": model, "call_id": call_id, "intent": intent}
        own = {name: value for name, value in given.items() if value}
        path = "/realtime/translations" if translation else "/realtime"
        return self._endpoint.websocket_url(path, {**own, **(options.get("query") or {})})

    def _headers(self, dialect: str, options: ConnectOptions) -> list[tuple[str, str]]:
        """Return the headers of a session's handshake."""
        asks_for_beta = dialect == "beta" and self._provider.dialect != "beta"
        beta = {"OpenAI-Beta": "realtime=v1"} if asks_for_beta else {}
        return self._endpoint.headers(beta, options.get("headers") or {}, secret=options.get("client_secret"))

    # --- The HTTP half -------------------------------------------------------------------------------

    @property
    def _rest(self) -> "Rest":
        from .rest import requester, resources  # only here: most programs need no HTTP, and it loads slowly

        with self._rest_lock:
            if self._rest_made is None:
                self._rest_made = resources.Rest(
                    requester.Requester(
                        self._endpoint,
                        prefix=self._provider.http_prefix,
                        timeout=self._timeout,
                        max_retries=self._max_retries,
                    )
                )
            return self._rest_made

    @property
    def client_secrets(self) -> "ClientSecrets":
        """``POST /realtime/client_secrets``: ephemeral secrets for browsers and phones"""
        return self._rest.client_secrets

    @property
    def calls(self) -> "Calls":
        """``POST /realtime/calls``: WebRTC and phone calls"""
        return self._rest.calls

    @property
    def translations(self) -> "Translations":
        """``POST /realtime/translations/client_secrets``: secrets for translation sessions"""
        return self._rest.translations

    @property
    def sessions(self) -> "Sessions":
        """``POST /realtime/sessions``: ephemeral secrets in the Beta dialect"""
        return self._rest.sessions

    @property
    def transcription_sessions(self) -> "TranscriptionSessions":
        """``POST /realtime/transcription_sessions``: the same for transcription"""
        return self._rest.transcription_sessions

    def close(self) -> None:
        """Close the HTTP connections.  Sessions stay open, and the next request connects again."""
        with self._rest_lock:
            if self._rest_made is not None:
                self._rest_made.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


# The options of `Client.connect` that are numbers.
_POSITIVE = (
    "connect_timeout",
    "send_timeout",
    "close_timeout",
    "ping_interval",
    "ping_timeout",
    "max_message_size",
    "max_buffered",
)


def _policy(options: ConnectOptions) -> Reconnect | None:
    """Return how the session reconnects; ``None`` = it doesn't.

    Raises:
        TypeError: ``reconnect`` is neither a bool nor a `Reconnect`.
    """
    given = options.get("reconnect", False)
    if not isinstance(given, bool | Reconnect):
        raise TypeError(f"reconnect must be True, False or a Reconnect, got {given!r:.80}")
    if isinstance(given, bool):
        return Reconnect() if given else None
    return given


def _endpoint(options: ClientOptions) -> tuple[Provider, Endpoint]:
    """Return who runs the server that the options and the environment name, and where it is."""
    provider = options.get("provider") or OPENAI
    base_url = options.get("base_url") or os.environ.get(provider.url_variable) or provider.url
    provider = options.get("provider") or provider_at(base_url)
    own = {
        "OpenAI-Organization": _or_environment(options.get("organization"), provider.organization_variable),
        "OpenAI-Project": _or_environment(options.get("project"), provider.project_variable),
        "OpenAI-Safety-Identifier": options.get("safety_identifier"),
    }
    given = {name: value for name, value in own.items() if value}
    return provider, Endpoint(
        base_url,
        provider=provider,
        api_key=_or_environment(options.get("api_key"), provider.key_variable) or None,
        headers={**given, **(options.get("default_headers") or {})},
        query=options.get("default_query") or {},
        ssl_context=tls_context(
            options.get("ssl_context"), options.get("ca_file"), options.get("client_cert")
        ),
        proxy=options.get("proxy", "env"),
        allow_insecure=options.get("allow_insecure", False),
    )


def _or_environment(given: Any, name: str) -> Any:
    """Return what was given, even if it is empty; else the environment's value."""
    return os.environ.get(name) if given is None else given


def _one_of(options: ConnectOptions, name: str, *allowed: str | None) -> Any:
    """Return an option that is one of a few texts; the first of them is the default.

    Raises:
        ValueError: It is something else.
    """
    value = options.get(name, allowed[0])
    if value not in allowed:
        expected = " or ".join(repr(text) for text in allowed if text)
        raise ValueError(f"{name} must be {expected}, got {value!r:.80}")
    return value


def _azure_url(endpoint: str, provider: Provider) -> str:
    """Return the base URL for an Azure resource.

    Raises:
        ValueError: The endpoint is not the root of a resource's URL.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError("the Azure endpoint must be like https://NAME.openai.azure.com")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("the Azure endpoint must end after the host: the path is added here")
    return endpoint.rstrip("/") + provider.path


def _wait_until_begun(session: Session, deadline: float, redact: Redact) -> None:
    """Wait for the first event: servers accept a connection before they check the key.

    Raises:
        ConnectionFailed: It is an error, or does not come before the deadline.
    """
    try:
        first = session.wait_for_first_event(max(deadline - time.monotonic(), 0.0))
    except ConnectionClosed as closed:
        reason = f": {closed.reason}" if closed.reason else ""
        raise ConnectionFailed(
            f"the server closed the connection before it began a session, with code {closed.code}{reason}"
        ) from closed
    if first is None:
        raise ConnectionFailed("the server accepted the connection, but sent no event in the connect timeout")
    if isinstance(first, ErrorEvent):
        details = without_secrets(first.error, redact)
        said = details.message or details.code or details.type
        raise ConnectionFailed(f"the server rejected the session: {said}", error=details)


def connect(model: str | None = None, **options: "Unpack[Options]") -> Session:
    """Open a session: `Client` and `Client.connect` in one call, with the options of both.

    Raises:
        ConnectionFailed, ValueError: See `Client.connect` and `Client`.
        TypeError: An option does not exist; the message names the nearest right one.
    """
    check_options("connect", options, Options, "model")
    # The two halves of a TypedDict: a type checker can't follow that.
    own: dict[str, Any] = {name: value for name, value in options.items() if name in _CLIENT_OPTIONS}
    others: dict[str, Any] = {name: value for name, value in options.items() if name not in own}
    return Client(**own).connect(model, **others)

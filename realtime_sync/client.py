"""`Client`: where the server is and who is calling; opens sessions, and holds the HTTP half of the API."""

import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import urlsplit

from .endpoint import ApiKey, Endpoint, tls_context
from .events import ErrorEvent
from .exceptions import ConnectionClosed, ConnectionFailed
from .session import Session, without_secrets
from .transport import Redact, open_transport

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .rest import Calls, ClientSecrets, Rest, Sessions, TranscriptionSessions, Translations

__all__ = ["Client", "connect"]

_DEFAULT_URL = "https://api.openai.com/v1"
_LOCAL_PORT = 8765
_MIB = 1024 * 1024


class _AzureOptions(TypedDict, total=False):
    """What `Client.azure` takes besides its own arguments; see `Client`."""

    safety_identifier: str | None
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, str] | None
    timeout: float
    max_retries: int
    ssl_context: ssl.SSLContext | None
    ca_file: str | os.PathLike[str] | None
    client_cert: str | tuple[str, str] | None
    proxy: str | None
    allow_insecure: bool
    log_payloads: bool


class Client:
    """Where a Realtime server is and who is calling.  Opens any number of sessions; thread-safe.

    The HTTP half of the API is under the names of its paths: `client_secrets`, `calls`, `sessions`,
    `transcription_sessions` and `translations`.  `Client.azure` and `Client.local` are for servers whose
    addresses are made in another way.

    Args:
        api_key: The key, or a function that returns a fresh one, which is called for each connection
            and request; default: the environment's ``OPENAI_API_KEY``; ``""`` for none at all.  An
            ephemeral secret (``ek_...``) is a key, too.
        base_url: ``https://``, ``http://``, ``wss://`` or ``ws://``, ending like OpenAI's
            ``https://api.openai.com/v1`` (the default, after the environment's ``OPENAI_BASE_URL``).
        organization: Default: the environment's ``OPENAI_ORG_ID``; ``""`` for none.
        project: Default: the environment's ``OPENAI_PROJECT_ID``; ``""`` for none.
        safety_identifier: A name for your user that doesn't tell who it is, for OpenAI's detection of
            abuse (``OpenAI-Safety-Identifier``).
        default_headers: Further headers for every connection and request.
        default_query: Further query parameters for every connection and request.
        timeout: Seconds that an HTTP request may take to connect, and its answer between two pieces.
        max_retries: How often an HTTP request is tried again; `rest` says which ones.
        ssl_context: For TLS; default: the system's certificates, TLS 1.2 or newer.
        ca_file: A file of certificates to trust in place of the system's.
        client_cert: A file with a certificate and its key to show to the server, or two files.
        proxy: ``"env"`` = as the environment says (``HTTPS_PROXY`` for TLS, ``HTTP_PROXY`` without,
            ``ALL_PROXY``, ``NO_PROXY``; this machine is always reached directly), ``None`` = none, or the
            URL of one: ``http://``, ``socks5://``, ``socks5h://`` or ``socks4://`` (SOCKS needs the extra
            ``socks``).
        allow_insecure: Send the key without TLS to another machine.
        log_payloads: Write the events themselves to the log (at level DEBUG), not just their names.

    Raises:
        ValueError: A setting can't be used: a URL with another scheme, a line break in a key, or a key
            for another machine without TLS and without ``allow_insecure``.
    """

    def __init__(
        self,
        *,
        api_key: ApiKey | None = None,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        safety_identifier: str | None = None,
        default_headers: Mapping[str, str] | None = None,
        default_query: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        max_retries: int = 2,
        ssl_context: ssl.SSLContext | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        client_cert: str | tuple[str, str] | None = None,
        proxy: str | None = "env",
        allow_insecure: bool = False,
        log_payloads: bool = False,
    ) -> None:
        _check_numbers(timeout=timeout)
        if max_retries < 0:
            raise ValueError("max_retries must not be negative")
        own = {
            "OpenAI-Organization": _or_environment(organization, "OPENAI_ORG_ID"),
            "OpenAI-Project": _or_environment(project, "OPENAI_PROJECT_ID"),
            "OpenAI-Safety-Identifier": safety_identifier,
        }
        given = {name: value for name, value in own.items() if value}
        self._endpoint = Endpoint(
            base_url or os.environ.get("OPENAI_BASE_URL") or _DEFAULT_URL,
            api_key=_or_environment(api_key, "OPENAI_API_KEY") or None,
            headers={**given, **(default_headers or {})},
            query=default_query or {},
            ssl_context=tls_context(ssl_context, ca_file, client_cert),
            proxy=proxy,
            allow_insecure=allow_insecure,
        )
        self._timeout = timeout
        self._max_retries = max_retries
        self._log_payloads = log_payloads
        self._deployment: str | None = None  # Azure's name for a model
        # Lets one of several threads that ask for the HTTP half at once be the one that makes it.
        self._rest_lock = threading.Lock()
        self._rest_made: Rest | None = None
        self._is_preview = False  # Azure's preview API: the deployment is in every query, and Beta spoken

    @classmethod
    def azure(
        cls,
        endpoint: str | None = None,
        deployment: str | None = None,
        *,
        api_key: str | None = None,
        token_provider: Callable[[], str] | None = None,
        api_version: str | None = None,
        **options: "Unpack[_AzureOptions]",
    ) -> "Self":
        """A client for Azure OpenAI.

        Args:
            endpoint: The resource, ``https://NAME.openai.azure.com``; default: the environment's
                ``AZURE_OPENAI_ENDPOINT``.
            deployment: What `connect` uses as the model; without it, name the deployment there.
            api_key: Default: the environment's ``AZURE_OPENAI_API_KEY``, unless there is a
                ``token_provider``.
            token_provider: Returns a token of Entra ID; called for each connection and request.
            api_version: For the preview API, for example ``"2025-04-01-preview"``: it speaks the Beta
                dialect and needs a ``deployment``.  Default: the GA API.
            options: As in `Client`.

        Raises:
            ValueError: Something is missing or can't be used.
        """
        endpoint = endpoint or os.environ.get("AZURE_OPENAI_ENDPOINT")
        if not endpoint:
            raise ValueError("no Azure endpoint: set AZURE_OPENAI_ENDPOINT, or pass endpoint=...")
        if api_key and token_provider:
            raise ValueError("give api_key or token_provider, not both")
        if api_version and not deployment:
            raise ValueError("the preview API (api_version=...) needs a deployment")
        key = "" if token_provider else (api_key or os.environ.get("AZURE_OPENAI_API_KEY") or "")
        if not key and not token_provider:
            names = "set AZURE_OPENAI_API_KEY, or pass api_key=... or token_provider=..."
            raise ValueError(f"no Azure key: {names}")
        preview = {"api-version": api_version, "deployment": deployment} if api_version and deployment else {}
        own = {"api-key": key} if key else {}
        options["default_headers"] = {**own, **(options.get("default_headers") or {})}
        options["default_query"] = {**preview, **(options.get("default_query") or {})}
        client = cls(
            api_key=token_provider or "",
            base_url=_azure_url(endpoint) + ("/openai" if api_version else "/openai/v1"),
            organization="",
            project="",
            **options,
        )
        client._deployment = deployment
        client._is_preview = bool(preview)
        return client

    @classmethod
    def local(cls, port: int = _LOCAL_PORT, *, api_key: str = "") -> "Self":
        """A client for the local server, as ``python -m realtime_sync serve`` runs it.

        For one that your program runs itself, use its address: ``Client(base_url=server.url)``.
        """
        return cls(
            api_key=api_key,
            base_url=f"http://127.0.0.1:{port}/v1",
            organization="",
            project="",
            proxy=None,
        )

    def __repr__(self) -> str:
        return f"<Client for {self._endpoint.base_url.partition('?')[0]}>"  # a query may hold a key

    # --- Sessions ----------------------------------------------------------------------------------

    def connect(
        self,
        model: str | None = None,
        *,
        call_id: str | None = None,
        intent: Literal["transcription"] | None = None,
        translation: bool = False,
        client_secret: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        dialect: Literal["ga", "beta"] | None = None,
        wait: bool = True,
        connect_timeout: float = 10.0,
        send_timeout: float = 30.0,
        close_timeout: float = 5.0,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        max_message_size: int = 64 * _MIB,
        max_buffered: int = 64 * _MIB,
        overflow: Literal["pause", "fail"] = "pause",
    ) -> Session:
        """Open a session, and wait until the server has begun it.

        Args:
            model: The model's name, for example ``"gpt-realtime-2.1"``.
            call_id: A phone or WebRTC call whose session to join; it has its model already.
            intent: ``"transcription"`` for a session that only transcribes.
            translation: A translation session; its model is, for example, ``"gpt-realtime-translate"``.
            client_secret: An ephemeral secret (``ek_...``) to use in place of the key.
            headers: Further headers for this connection.
            query: Further query parameters for this connection.
            dialect: ``"beta"`` for servers that speak the API's older form, else ``"ga"``; both forms
                are read alike.
            wait: Whether to wait for the server's first event, which tells if it really accepts you;
                ``False`` for servers that say nothing before they are spoken to.
            connect_timeout: Seconds for connecting, TLS, the server's answer and its first event together.
            send_timeout: Seconds an event may take to be sent before the session is given up.
            close_timeout: Seconds `Session.close` waits at most for the server's goodbye.
            ping_interval: Seconds of silence after which the server is pinged; ``None`` = never.
            ping_timeout: Seconds of silence after a ping that mean it is gone; ``None`` = never.
            max_message_size: Largest message accepted, in bytes; a larger one ends the session (1009).
            max_buffered: Bytes of events you have not taken yet at which ``overflow`` happens.
            overflow: ``"pause"`` = stop reading until you catch up, which makes the server wait and loses
                nothing; ``"fail"`` = end the session.

        Raises:
            ConnectionFailed: The server can't be reached, or refuses, also by an ``error`` in place of
                the session's first event.
            ValueError: A setting can't be used, or OpenAI's server was asked without a key.
        """
        if dialect not in (None, "ga", "beta"):
            raise ValueError(f"dialect {dialect!r}: use 'ga' or 'beta'")
        if overflow not in ("pause", "fail"):
            raise ValueError(f"overflow {overflow!r}: use 'pause' or 'fail'")
        if intent not in (None, "transcription"):
            raise ValueError(f"intent {intent!r}: use 'transcription'")
        if translation and (intent or call_id):
            raise ValueError("a translation session has no intent and no call")
        _check_numbers(
            connect_timeout=connect_timeout,
            send_timeout=send_timeout,
            close_timeout=close_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            max_message_size=max_message_size,
            max_buffered=max_buffered,
        )
        deadline = time.monotonic() + connect_timeout
        spoken = dialect or ("beta" if self._is_preview else "ga")
        model = self._model(model, call_id)
        given = {"model": model, "call_id": call_id, "intent": intent}
        url = self._endpoint.websocket_url(
            "/realtime/translations" if translation else "/realtime",
            {**{name: value for name, value in given.items() if value}, **(query or {})},
        )
        beta = {"OpenAI-Beta": "realtime=v1"} if spoken == "beta" and not self._is_preview else {}
        request_headers = self._headers(beta, headers or {}, secret=client_secret)
        redact = self._endpoint.redactor(request_headers, (query or {}).items())
        transport = open_transport(
            url,
            headers=request_headers,
            ssl_context=self._endpoint.ssl_context,
            proxy=self._endpoint.proxy_setting,
            connect_timeout=connect_timeout,
            redact=redact,
            max_message_size=max_message_size,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            send_timeout=send_timeout,
        )
        try:
            session = Session(
                transport,
                dialect=spoken,
                max_buffered=max_buffered,
                overflow=overflow,
                close_timeout=close_timeout,
                redact=redact,
                name=f"{urlsplit(url).hostname} ({model or call_id or self._deployment or 'no model named'})",
                log_payloads=self._log_payloads,
            )
            if wait:
                _wait_until_begun(session, deadline, redact)
        except BaseException:  # Ctrl-C too: nobody could close it any more
            transport.kill()
            raise
        return session

    def _model(self, model: str | None, call_id: str | None) -> str | None:
        """What to ask for as the model.

        Raises:
            ValueError: It is settled already.
        """
        if model and call_id:
            raise ValueError("give model or call_id, not both: a call has its model")
        if model and self._deployment:
            raise ValueError("give deployment or model, not both: they are two names for one thing")
        if self._deployment and not self._is_preview and not call_id:
            return self._deployment
        return model

    def _headers(self, *more: Mapping[str, str], secret: str | None = None) -> list[tuple[str, str]]:
        headers = self._endpoint.headers(*more, secret=secret)
        is_openai = (urlsplit(self._endpoint.base_url).hostname or "").endswith("api.openai.com")
        if is_openai and not any(name.lower() == "authorization" for name, _ in headers):
            raise ValueError("no API key: set OPENAI_API_KEY, or pass api_key=...")
        return headers

    # --- The HTTP half -------------------------------------------------------------------------------

    @property
    def _rest(self) -> "Rest":
        from .rest import Rest  # only here: most programs need no HTTP, and importing it takes long

        with self._rest_lock:
            if self._rest_made is None:
                self._rest_made = Rest(
                    self._endpoint,
                    self._headers,
                    prefix="/realtimeapi" if self._is_preview else "/realtime",
                    timeout=self._timeout,
                    max_retries=self._max_retries,
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
        """Give the HTTP connections back.  Sessions stay open."""
        with self._rest_lock:
            if self._rest_made is not None:
                self._rest_made.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _or_environment(given: Any, name: str) -> Any:
    """What was given, also if it is empty; else what the environment has."""
    return os.environ.get(name) if given is None else given


def _azure_url(endpoint: str) -> str:
    """The root of an Azure resource.

    Raises:
        ValueError: It is more or less than that.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError("the Azure endpoint must be like https://NAME.openai.azure.com")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("the Azure endpoint must end after the host: the path is added here")
    return endpoint.rstrip("/")


def _wait_until_begun(session: Session, deadline: float, redact: Redact) -> None:
    """Wait for the first event.  Servers accept a connection before they look at the key.

    Raises:
        ConnectionFailed: It is an error, or does not come.
    """
    try:
        first = session.wait_for_first_event(max(deadline - time.monotonic(), 0.0))
    except ConnectionClosed as closed:
        reason = f": {closed.reason}" if closed.reason else ""
        raise ConnectionFailed(
            f"the server ended the session at once, with code {closed.code}{reason}"
        ) from closed
    if first is None:
        session.close()
        raise ConnectionFailed("the server accepted the connection, but began no session in time")
    if isinstance(first, ErrorEvent):
        session.close()
        details = without_secrets(first.error, redact)
        said = details.message or details.code or details.type
        raise ConnectionFailed(f"the server refused the session: {said}", error=details)


def _check_numbers(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be more than 0")


def connect(
    model: str | None = None,
    *,
    api_key: ApiKey | None = None,
    base_url: str | None = None,
    organization: str | None = None,
    project: str | None = None,
    safety_identifier: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    client_cert: str | tuple[str, str] | None = None,
    proxy: str | None = "env",
    allow_insecure: bool = False,
    log_payloads: bool = False,
    call_id: str | None = None,
    intent: Literal["transcription"] | None = None,
    translation: bool = False,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    dialect: Literal["ga", "beta"] | None = None,
    wait: bool = True,
    connect_timeout: float = 10.0,
    send_timeout: float = 30.0,
    close_timeout: float = 5.0,
    ping_interval: float | None = 20.0,
    ping_timeout: float | None = 20.0,
    max_message_size: int = 64 * _MIB,
    max_buffered: int = 64 * _MIB,
    overflow: Literal["pause", "fail"] = "pause",
) -> Session:
    """Open a session: `Client` and `Client.connect` in one call, with the arguments of both."""
    client = Client(
        api_key=api_key,
        base_url=base_url,
        organization=organization,
        project=project,
        safety_identifier=safety_identifier,
        ssl_context=ssl_context,
        ca_file=ca_file,
        client_cert=client_cert,
        proxy=proxy,
        allow_insecure=allow_insecure,
        log_payloads=log_payloads,
    )
    return client.connect(
        model,
        call_id=call_id,
        intent=intent,
        translation=translation,
        headers=headers,
        query=query,
        dialect=dialect,
        wait=wait,
        connect_timeout=connect_timeout,
        send_timeout=send_timeout,
        close_timeout=close_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        max_message_size=max_message_size,
        max_buffered=max_buffered,
        overflow=overflow,
    )

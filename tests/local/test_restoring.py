"""What a client puts into a new session to go on with a conversation, and what the server makes of it."""

import base64
from collections.abc import Iterable
from typing import Any

import pytest
from local_peer import Peer

import realtime_sync as rt
from realtime_sync.local import Request, Say
from realtime_sync.testing import RealtimeServer

ev = rt.events

AUDIO = bytes(range(200)) * 20
SPOKEN = base64.b64encode(AUDIO).decode()
PICTURE = "data:image/png;base64,AAAA"


def message(item_id: str, role: str, *content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": item_id, "type": "message", "role": role, "content": list(content), **more}


def conversation(dialect: str) -> list[dict[str, Any]]:
    """Items with the client's own ids, in the words of the dialect."""
    text, audio = ("text", "audio") if dialect == "beta" else ("output_text", "output_audio")
    return [
        message("sys", "system", {"type": "input_text", "text": "Be brief."}),
        message("typed", "user", {"type": "input_text", "text": "Hello"}),
        message("answer", "assistant", {"type": text, "text": "Hi."}),
        message("spoken", "user", {"type": "input_audio", "audio": SPOKEN, "transcript": "How cold?"}),
        {"id": "call", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"id": "output", "type": "function_call_output", "call_id": "c1", "output": "7"},
        message("said", "assistant", {"type": audio, "audio": SPOKEN, "transcript": "Seven."}),
        message("cut", "assistant", {"type": text, "text": "Take a"}, status="incomplete"),
        message("seen", "user", {"type": "input_image", "image_url": PICTURE, "detail": "low"}),
    ]


EXPECTED: list[ev.Item] = [
    ev.Message(id="sys", role="system", content=[ev.InputText(text="Be brief.")]),
    ev.Message(id="typed", role="user", content=[ev.InputText(text="Hello")]),
    ev.Message(id="answer", role="assistant", content=[ev.OutputText(text="Hi.")]),
    ev.Message(id="spoken", role="user", content=[ev.InputAudio(audio=AUDIO, transcript="How cold?")]),
    ev.FunctionCall(id="call", call_id="c1", name="f", arguments="{}"),
    ev.FunctionCallOutput(id="output", call_id="c1", output="7"),
    ev.Message(id="said", role="assistant", content=[ev.OutputAudio(audio=AUDIO, transcript="Seven.")]),
    ev.Message(id="cut", status="incomplete", role="assistant", content=[ev.OutputText(text="Take a")]),
    ev.Message(id="seen", role="user", content=[ev.InputImage(image_url=PICTURE, detail="low")]),
]


def as_kept(item: ev.Item) -> ev.Item:
    """Return the item with what the server adds."""
    assert isinstance(item, ev.Message | ev.FunctionCall | ev.FunctionCallOutput)
    item.object, item.status = "realtime.item", item.status or "completed"
    return item


class Attentive:
    """A responder that notes what it is given to answer."""

    def __init__(self) -> None:
        self.seen: list[list[str | None]] = []

    def respond(self, request: Request) -> Iterable[Say]:
        self.seen.append([getattr(item, "id", None) for item in request.items])
        yield Say("I know.")


class Restoring(Peer):
    """A client that puts a conversation into its session."""

    def __init__(self, server: RealtimeServer, dialect: str) -> None:
        self.beta = dialect == "beta"
        super().__init__(server, header=["OpenAI-Beta: realtime=v1"] if self.beta else [])
        if self.beta:
            assert self.receive()["type"] == "conversation.created"

    def create(self, item: dict[str, Any], after: str | None) -> dict[str, Any]:
        """Create the item; what the server answers."""
        self.send("conversation.item.create", event_id="mine", item=item, previous_item_id=after)
        answer = self.receive()
        if not self.beta and answer["type"] != "error":
            assert self.receive()["type"] == "conversation.item.done"
        return answer

    def ask(self) -> None:
        modalities = "modalities" if self.beta else "output_modalities"
        self.send("response.create", response={modalities: ["text"]})
        self.until("response.done")


@pytest.mark.parametrize("dialect", ["ga", "beta"])
@pytest.mark.parametrize("way", ["one after the other", "in front of the others"])
def test_a_conversation_is_taken(dialect: str, way: str) -> None:
    """Items of all kinds keep the client's ids, their order and their content, and responses go by them."""
    attentive, items = Attentive(), conversation(dialect)
    with RealtimeServer(responder=attentive) as server:
        peer = Restoring(server, dialect)
        if way == "one after the other":
            ids = [None, *(str(item["id"]) for item in items)]
            for before, item in zip(ids, items, strict=False):
                answer = peer.create(item, before)
                assert (answer["item"]["id"], answer["previous_item_id"]) == (item["id"], before)
        else:
            for item in reversed(items):
                answer = peer.create(item, "root")
                assert (answer["item"]["id"], answer["previous_item_id"]) == (item["id"], None)
        peer.ask()
        peer.drop()
        server.wait_closed()
        [record] = server.records.values()
        *restored, last = record.items
    assert attentive.seen == [[item["id"] for item in items]]
    assert restored == [as_kept(item) for item in EXPECTED]
    assert isinstance(last, ev.Message)
    assert last.content == [ev.OutputText(text="I know.")]


@pytest.mark.parametrize("dialect", ["ga", "beta"])
def test_what_is_not_taken(dialect: str) -> None:
    """An id that is used twice and an item that isn't there are errors about that event; nothing changes."""
    items = conversation(dialect)
    with RealtimeServer() as server:
        peer = Restoring(server, dialect)
        peer.create(items[1], None)
        for item, after, code in (
            (items[1], None, "item_create_duplicate_item_id"),
            (items[2], "nowhere", "item_create_invalid_previous_item_id"),
        ):
            error = peer.create(item, after)["error"]
            assert (error["code"], error["event_id"]) == (code, "mine")
        peer.drop()
        server.wait_closed()
        [record] = server.records.values()
    assert [getattr(item, "id", None) for item in record.items] == ["typed"]


def test_an_item_that_is_not_echoed() -> None:
    """What the server took just before the connection was lost is in its records, not in its answers."""
    with RealtimeServer(faults=["reset:received=2"]) as server:
        peer = Restoring(server, "ga")
        for item in conversation("ga")[:2]:
            peer.send("conversation.item.create", item=item)
        assert peer.ending() is None
        peer.drop()
        server.wait_closed()
        [record] = server.records.values()
    assert [getattr(item, "id", None) for item in record.items] == ["sys", "typed"]
    assert len([event for event in record.sent if isinstance(event, ev.ConversationItemDone)]) == 1

"""A conversation as plain lists and dicts, for `Conversation` to be compared with.

It knows one kind of server: one that always names an item's predecessor.
"""

from typing import Any

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent

BYTES_PER_MS = 48
MOST_INDEX = 1000


class Model:
    """What a log of events comes to.  Read it after `read` has taken each of them.

    Attributes:
        order: Names of the items in the conversation: an item's id, and for one whose id another
            response has used again, that and a number behind a ``#``.
        written, spoken, audio: What each part holds, by the item's name and content index.
        cuts: Where audio was cut off, in bytes.
        owner: The response that each item belongs to.
        statuses: Of the responses.
    """

    def __init__(self) -> None:
        self.order: list[str] = []
        self.placed: set[str] = set()
        self.deleted: set[str] = set()
        self.known: set[str] = set()
        self.inside: set[str] = set()  # responses known to run in the conversation
        self.written: dict[tuple[str, int], str] = {}
        self.spoken: dict[tuple[str, int], str] = {}
        self.sound: dict[tuple[str, int], bytes] = {}
        self.cuts: dict[tuple[str, int], int] = {}
        self.memories: list[dict[tuple[str, int], Any]] = [self.written, self.spoken, self.sound, self.cuts]
        self.owner: dict[str, str] = {}
        self.statuses: dict[str, str] = {}
        self.over: set[str] = set()  # responses
        self.active: str | None = None  # the one that runs in the conversation
        self.names: dict[str, str] = {}  # of the responses, by their id: that and a number behind a ``~``
        self.announced: set[str] = set()
        self.filled: set[str] = set()  # those that have items
        self.last: ServerEvent | None = None

    def read(self, event: ServerEvent) -> None:
        if event == self.last:
            return
        self.last = event
        getattr(self, event.handler, lambda event: None)(event)

    # --- Membership ----------------------------------------------------------------------------------

    def visit_conversation_item_added(self, event: Any) -> None:
        item_id = event.item.id
        if item_id in self.deleted:
            self.forget(item_id)
        self.hold(event.item)
        self.place(item_id, event.previous_item_id)

    visit_conversation_item_created = visit_conversation_item_added

    def visit_conversation_item_done(self, event: Any) -> None:
        self.hold(event.item)
        if event.item.id not in self.deleted:
            self.place(event.item.id, event.previous_item_id)

    def visit_conversation_item_deleted(self, event: Any) -> None:
        if event.item_id in self.order:
            self.order.remove(event.item_id)
            self.deleted.add(event.item_id)

    def place(self, item_id: str, previous: str) -> None:
        if item_id in self.owner:
            self.inside.add(self.owner[item_id])
        if item_id in self.placed:
            return
        if item_id in self.order:
            self.order.remove(item_id)
        if previous in self.order:
            self.order.insert(self.order.index(previous) + 1, item_id)
            self.placed.add(item_id)
        else:
            self.order.append(item_id)

    def forget(self, item_id: str) -> None:
        self.deleted.discard(item_id)
        self.placed.discard(item_id)
        self.owner.pop(item_id, None)
        for memory in self.memories:
            for key in [key for key in memory if key[0] == item_id]:
                del memory[key]

    def rename(self, item_id: str, name: str) -> None:
        """Free an id for another item."""
        self.order = [name if each == item_id else each for each in self.order]
        for memory in self.memories:
            for key in [key for key in memory if key[0] == item_id]:
                memory[name, key[1]] = memory[key]
        self.owner[name] = self.owner[item_id]
        self.forget(item_id)

    # --- Content -------------------------------------------------------------------------------------

    def hold(self, item: Any) -> None:
        self.known.add(item.id)
        for index, part in enumerate(item.content):
            self.part(item.id, index)
            whole = item.status != "in_progress"
            if isinstance(part, ev.OutputText | ev.InputText):
                self.put(self.written, (item.id, index), part.text, whole)
            elif part.transcript is not None:
                self.put(self.spoken, (item.id, index), part.transcript, whole)

    def put(self, memory: dict[tuple[str, int], str], key: tuple[str, int], text: str, whole: bool) -> None:
        if key not in memory or (text and whole):
            memory[key] = text

    def part(self, item_id: str, index: int) -> bool:
        self.known.add(item_id)
        if (item_id, index) in self.sound:
            return True
        if not 0 <= index < MOST_INDEX:
            return False
        self.sound[item_id, index] = b""
        return True

    def streamed(self, event: Any) -> tuple[str, int] | None:
        self.own(event.item_id, event.response_id)
        return (event.item_id, event.content_index) if self.part(event.item_id, event.content_index) else None

    def visit_response_content_part_added(self, event: Any) -> None:
        if key := self.streamed(event):
            self.put(self.written, key, event.part.text, False)

    def visit_response_output_text_delta(self, event: Any) -> None:
        if key := self.streamed(event):
            self.written[key] = self.written.get(key, "") + event.delta

    def visit_response_output_text_done(self, event: Any) -> None:
        if key := self.streamed(event):
            self.put(self.written, key, event.text, True)

    def visit_response_output_audio_transcript_delta(self, event: Any) -> None:
        if key := self.streamed(event):
            self.spoken[key] = self.spoken.get(key, "") + event.delta

    def visit_response_output_audio_transcript_done(self, event: Any) -> None:
        if key := self.streamed(event):
            self.put(self.spoken, key, event.transcript, True)

    def visit_response_output_audio_delta(self, event: Any) -> None:
        if key := self.streamed(event):
            self.sound[key] += event.delta

    def visit_conversation_item_truncated(self, event: Any) -> None:
        key = event.item_id, event.content_index
        if key in self.sound:
            cut = max(0, event.audio_end_ms) * BYTES_PER_MS
            self.cuts[key] = min(cut, self.cuts.get(key, cut))

    def audio(self, key: tuple[str, int]) -> bytes:
        return self.sound[key][: self.cuts.get(key)]

    def visit_conversation_item_input_audio_transcription_delta(self, event: Any) -> None:
        key = event.item_id, event.content_index
        if self.part(*key):
            self.spoken[key] = self.spoken.get(key, "") + event.delta

    def visit_conversation_item_input_audio_transcription_completed(self, event: Any) -> None:
        key = event.item_id, event.content_index
        if self.part(*key):
            self.put(self.spoken, key, event.transcript, True)

    # --- Responses -----------------------------------------------------------------------------------

    def begin(self, response_id: str, conversation_id: str | None = None, again: bool = False) -> str:
        """The name of a response; one that begins in the conversation ends the one that runs there."""
        name = self.names.get(response_id, "")
        if name and not again:
            return name
        if name and name not in self.over:
            self.end(name, "unsaid")
        self.names[response_id] = name = f"{response_id}~{len(self.statuses)}"
        self.statuses[name] = "in_progress"
        if conversation_id:
            if self.active is not None:
                self.end(self.active, "unsaid")
            self.active = name
        return name

    def end(self, name: str, status: str) -> None:
        if self.statuses[name] in ("in_progress", "unsaid"):
            self.statuses[name] = status
        self.over.add(name)
        if self.active == name:
            self.active = None

    def own(self, item_id: str, response_id: str, authority: bool = False) -> bool:
        """An item belongs to the response that names it first, until another one uses its id again."""
        self.known.add(item_id)
        response = self.names.get(response_id)
        owner = self.owner.get(item_id)
        is_another = owner is not None and owner != response and owner in self.over
        if is_another and response is not None and response not in self.over:  # else it is a late event
            self.rename(item_id, f"{item_id}#{len(self.owner)}")
        if authority or item_id not in self.owner:
            response = self.begin(response_id)
        new = item_id not in self.owner
        if new and response is not None:
            self.owner[item_id] = response
            self.filled.add(response)
        owner = self.owner[item_id]
        outside = item_id not in self.order and item_id not in self.deleted
        if outside and (new or authority) and owner == response and owner in self.inside:
            self.order.append(item_id)
        return owner == response

    def visit_response_created(self, event: Any) -> None:
        response_id, conversation_id = event.response.id, event.response.conversation_id
        name = self.names.get(response_id, "")
        again = name in self.over or (name in self.announced and name in self.filled)
        name = self.begin(response_id, conversation_id, again)
        self.announced.add(name)
        if conversation_id:
            self.inside.add(name)

    def visit_response_output_item_added(self, event: Any) -> None:
        self.begin(event.response_id)
        self.own(event.item.id, event.response_id, True)
        self.hold(event.item)

    visit_response_output_item_done = visit_response_output_item_added

    def visit_response_done(self, event: Any) -> None:
        response = event.response
        name = self.names.get(response.id, "")
        another = name in self.over and any(item.id not in self.known for item in response.output)
        name = self.begin(response.id, response.conversation_id, another)
        if response.conversation_id:
            self.inside.add(name)
        for item in response.output:
            if self.own(item.id, response.id, True):
                self.hold(item)
        self.end(name, response.status)

    def visit_response_cancelled(self, event: Any) -> None:
        self.end(self.begin(event.response_id), "cancelled")

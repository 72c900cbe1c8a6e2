"""How a `DeviantServer` differs from the specification: a switch for each habit, and which clash."""

import random
from dataclasses import dataclass, fields, replace

OPTIONS: dict[str, tuple[str, ...]] = {  # the first is what the specification says
    "event_ids": ("own", "missing", "same"),
    "response_ids": ("own", "empty", "null", "absent", "reused", "late"),
    "item_ids": ("own", "restart"),
    "created": ("sent", "missing"),
    "done": ("sent", "missing"),
    "output": ("full", "empty"),
    "repeats": ("no", "yes"),
    "errors": ("named", "nameless"),
    "busy": ("code", "type"),
    "own_responses": ("no", "yes"),
    "proxy": ("silent", "asks"),
    "calls": ("items", "arguments"),
    "parts": ("once", "twice", "new id"),
    "texts": ("all", "no deltas", "no done"),
    "names": ("ga", "beta"),
    "cancelled": ("done", "cancelled", "both"),
    "previous": ("right", "root", "null", "missing"),
    "item_events": ("sent", "missing"),
    "conversation_ids": ("sent", "missing"),
    "transcripts": ("any", "late", "first"),
    "surrogates": ("whole", "cut"),
    "added": ("after", "before"),
    "begins": ("at once", "late"),
    "truncate": ("answered", "unanswered"),
    "requests": ("answered", "swallowed"),
}


@dataclass(frozen=True)
class Switches:
    """What a server does; by default what the specification says.

    Attributes:
        event_ids: Each event has its own ``event_id``, none has one, or all have the same.
        response_ids: Each response has its own id; it is ``""``, null, or absent; all have the same; or
            ``response.created`` has none and the later events do.
        item_ids: Items have ids of their own, or their numbering restarts with each response.
        created, done: Whether ``response.created`` comes, and (for some responses) ``response.done``.
        output: Whether ``response.done`` lists the items.
        repeats: A proxy sends some events twice, one right behind the other.
        errors: Whether errors name the client event that they are about.
        busy: Where the name of "a response is active" stands; in ``type``, the code is null.
        own_responses: The server begins responses by itself, also in the moment of a request.
        proxy: Something between asks for responses, and its rejections arrive here.
        calls: Calls have items, or are told only by ``arguments.done`` with an empty ``item_id``.
        parts: Parts are told once; twice; or an item ends under another id than it began.
        texts: Deltas and the whole text; one of them is missing.
        names: The spelling of types and parts.
        cancelled: How the end of a cancelled response is told.
        previous: ``previous_item_id`` is right (null for the first); ``"root"`` for the first; always null;
            or absent.
        item_events: Whether ``conversation.item.*`` comes for the server's own items.
        conversation_ids: Whether responses have a ``conversation_id``.
        transcripts: The user's words come at any time; behind the response; or before their item.
        surrogates: Whether text deltas are cut in the midst of a surrogate pair.
        added: ``conversation.item.added`` comes after ``response.output_item.added``, or before.
        begins: A response begins at once, or only after the client has sent something more.
        truncate: Whether ``conversation.item.truncate`` is answered.
        requests: The last request of the talk is answered, or never.
    """

    event_ids: str = "own"
    response_ids: str = "own"
    item_ids: str = "own"
    created: str = "sent"
    done: str = "sent"
    output: str = "full"
    repeats: str = "no"
    errors: str = "named"
    busy: str = "code"
    own_responses: str = "no"
    proxy: str = "silent"
    calls: str = "items"
    parts: str = "once"
    texts: str = "all"
    names: str = "ga"
    cancelled: str = "done"
    previous: str = "right"
    item_events: str = "sent"
    conversation_ids: str = "sent"
    transcripts: str = "any"
    surrogates: str = "whole"
    added: str = "after"
    begins: str = "at once"
    truncate: str = "answered"
    requests: str = "answered"

    def __str__(self) -> str:
        odd = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if not self._is_plain(f.name)]
        return f"Switches({', '.join(odd)})"

    def _is_plain(self, name: str) -> bool:
        return bool(getattr(self, name) == OPTIONS[name][0])

    @property
    def names_responses(self) -> bool:
        """Whether each response has an id of its own, from its first event on."""
        return self.response_ids == "own"


def clash(s: Switches) -> str | None:
    """Why no client could know the right answer with these switches; ``None`` if one could."""
    unnamed = s.response_ids not in ("own", "late")
    if s.repeats == "yes" and s.event_ids != "own":
        return "an event that came twice is not told from two equal ones, such as the delta 'ha' of 'ha ha'"
    if s.created == "missing" and s.done == "missing" and s.response_ids != "own":
        return "nothing says where one response ends and the next begins"
    if s.done == "missing" and unnamed and s.repeats == "yes":
        return "a response.created that came twice is not told from an end and a beginning"
    if s.created == "missing" and unnamed and s.repeats == "yes":
        return "a response.done that came twice is not told from the end of an empty response"
    if s.created == "missing" and unnamed and s.cancelled == "both":
        return "a response.cancelled behind response.done is not told from the end of an empty response"
    if s.response_ids != "own" and s.item_ids == "restart" and s.done == "missing" and s.created == "missing":
        return "an item's second delta is not told from the first of the next response's item"
    if s.calls == "arguments" and s.previous in ("right", "root"):
        return "a call without an id can't be named as the predecessor of its output"
    if s.calls == "arguments" and s.texts == "no done":
        return "arguments.done is the only event of a call"
    if s.texts == "no done" and s.parts == "new id" and s.output == "empty":
        return "the item that ends under a new id is tied to the old one by its last texts"
    if s.errors == "nameless" and s.proxy == "asks":
        return "a rejection of our request is not told from that of the proxy's"
    if s.errors == "nameless" and s.own_responses == "yes":
        return "whether the response or the nameless rejection answers the request in flight is not told"
    return None


def drawn(rng: random.Random) -> Switches:
    """A random subset of the deviations, of those that a client could cope with."""
    while True:
        names = rng.sample(list(OPTIONS), rng.choice((0, 1, 1, 2, 2, 3, 4, 6, 9)))
        switches = replace(Switches(), **{name: rng.choice(OPTIONS[name][1:]) for name in names})
        if clash(switches) is None:
            return switches


def each_alone() -> list[Switches]:
    """One deviation at a time, and what it takes to make it one that a client could cope with."""
    alone = [replace(Switches(), **{name: value}) for name in OPTIONS for value in OPTIONS[name][1:]]
    return [replace(s, previous="null") if s.calls == "arguments" else s for s in alone]

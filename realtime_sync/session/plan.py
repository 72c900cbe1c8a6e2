"""What is restored of a session when its connection was lost, and what can't be."""

from collections.abc import Collection
from typing import Any

from msgspec import Struct, structs

from .. import events as ev
from ..redaction import one_line
from ..sound.formats import bytes_per_second, input_format, input_settings
from .facts import ItemEntry, ResponseEntry
from .ledger import RESTARTED, Change, Ledger, creates_responses
from .mirror import ConversationItem, Mirror
from .outbox import Event, value_of
from .transcript import Creator

__all__ = ["Plan", "Restored", "is_cancelled", "is_meant", "lost_audio", "make_plan"]

_LONGEST_ID = 32  # characters of an item's id that OpenAI takes from a client
_OF_ITEMS = frozenset({"conversation.item.delete", "conversation.item.retrieve"})
_SILENT = frozenset({"message", "function_call", "mcp_list_tools"})  # nothing is lost with an empty one


class Plan(Struct, frozen=True):
    """What is to be restored.

    Attributes:
        updates: The events that ask for the settings.
        items: The items to create, in order.
        gone: The items that no client can create.
        fates: What becomes of the responses that ran; see `Change`.
        rewound: Turns of the user, the last ones, whose audio is sent again to be committed again.
        untranscribed: Speech of the user that is restored and whose transcript will not come.
        lost: What is lost, one description each.
        version: Tells whether anything has happened in the session since.
    """

    updates: tuple[dict[str, Any], ...]
    items: tuple[tuple[ItemEntry, ev.Item], ...]
    gone: tuple[ItemEntry, ...]
    fates: dict[ResponseEntry, str]
    rewound: tuple[ItemEntry, ...]
    untranscribed: tuple[ItemEntry, ...]
    lost: tuple[str, ...]
    version: tuple[int, int]


class Restored(Struct, frozen=True):
    """What was restored.

    Attributes:
        change: What is different now.
        items: The items that were created, in order.
        rewound: As in `Plan`.
        lost: What is lost, one description each.
        complete: Whether the server has taken all that was to be restored.
    """

    change: Change
    items: tuple[ItemEntry, ...]
    rewound: tuple[ItemEntry, ...]
    lost: tuple[str, ...]
    complete: bool


def make_plan(
    ledger: Ledger, mirror: Mirror, dialect: str, repeat: bool | None, version: tuple[int, int]
) -> Plan:
    """Return what is to be restored of a session.

    Args:
        ledger: What is known of it.
        mirror: What its items hold.
        dialect: That of the new session.
        repeat: `Reconnect.repeat_responses`.
        version: As in `Plan`.
    """
    fates = {response: _fate(ledger, response, repeat) for response in ledger.responses.running}
    items, untranscribed, lost = [], [], []
    in_order = mirror.in_order()
    rewound = _rewound(ledger, in_order)
    gone = list(rewound)
    creator = Creator(dialect)
    has_memory = not _only_transcribes(ledger.config)
    for entry, item in in_order[: len(in_order) - len(rewound)]:
        if entry.response is not None and fates.get(entry.response) == RESTARTED:
            gone.append(entry)
            continue
        awaits_transcript = _awaits_transcript(ledger, entry, item)
        if awaits_transcript:
            untranscribed.append(entry)
        if not has_memory:
            continue  # its server needs no earlier items
        wire = creator.item(item)
        if (wire is None or not _is_transcribed(item)) and (audio := ledger.audio.of_turn(entry)):
            wire = ev.Message(role="user", content=[ev.InputAudio(audio=audio)])
        elif awaits_transcript and wire is not None:
            lost.append(f"the rest of the transcript of item {one_line(entry.id)}")
        if wire is not None:
            items.append((entry, _with_id(wire, entry.id)))
            continue
        gone.append(entry)
        lost += _loss(ledger, entry, item)
    lost += [
        f"the rest of response {one_line(response.id)}: the connection was lost while it ran"
        for response, fate in fates.items()
        if fate == "lost"
    ]
    return Plan(
        updates=tuple(ledger.settings.events()),
        items=tuple(items),
        gone=tuple(gone),
        fates=fates,
        rewound=rewound,
        untranscribed=tuple(untranscribed) if _transcribes(ledger.config) else (),
        lost=tuple(lost),
        version=version,
    )


def _rewound(ledger: Ledger, in_order: list[tuple[ItemEntry, ConversationItem]]) -> tuple[ItemEntry, ...]:
    """Return the turns of the user at the end whose audio is sent again, for the sake of their transcripts.

    Only where the model doesn't answer them by itself: else they are restored as items.
    """
    if creates_responses(ledger.config) or not _transcribes(ledger.config):
        return ()
    first = len(in_order)
    for index in range(len(in_order) - 1, -1, -1):
        entry, item = in_order[index]
        if ledger.audio.of_turn(entry) is None:
            break
        if _awaits_transcript(ledger, entry, item):
            first = index
    return tuple(entry for entry, _ in in_order[first:])


def _awaits_transcript(ledger: Ledger, entry: ItemEntry, item: ConversationItem) -> bool:
    """Return whether an item is speech of the user whose transcript is still to come."""
    if not item.content:  # only its commitment is known
        return ledger.audio.turn_size(entry) > 0
    is_user = item.type == "message" and item.role == "user"
    return is_user and any(part.kind == "audio" and not part.transcribed for part in item.content)


def _is_transcribed(item: ConversationItem) -> bool:
    """Return whether all speech of an item has its whole transcript."""
    return all(part.transcribed and part.error is None for part in item.content if part.kind == "audio")


def _only_transcribes(config: ev.SessionConfig | None) -> bool:
    kind = config.type if config is not None else None
    return kind == "transcription" or str(config and config.object).endswith("transcription_session")


def _transcribes(config: ev.SessionConfig | None) -> bool:
    """Return whether a session transcribes what the user says."""
    side = input_settings(config)
    asked = side.transcription if side is not None else config and config.input_audio_transcription
    return _only_transcribes(config) or bool(asked)


def _with_id(wire: ev.Item, item_id: str) -> ev.Item:
    return structs.replace(wire, id=item_id) if 0 < len(item_id) <= _LONGEST_ID else wire  # type: ignore[type-var]


def _fate(ledger: Ledger, response: ResponseEntry, repeat: bool | None) -> str:
    """Return what becomes of a response that ran."""
    if any(item.called for item in response.items):
        return "completed"  # its calls run, so it must not call again; their outputs go on from here
    if response.unwanted or is_cancelled(ledger, response):
        return "cancelled"
    known = response.request is not None or not response.out_of_band
    wanted = not response.played if repeat is None else repeat
    return RESTARTED if known and wanted else "lost"


def is_cancelled(ledger: Ledger, response: ResponseEntry) -> bool:
    """Return whether a response was about to be cancelled: the program has asked, or the user speaks."""
    if ledger.audio.speaks and response is ledger.responses.active:
        side = input_settings(ledger.config)
        return getattr(side and side.turn_detection, "interrupt_response", True) is not False
    events = [letter.event for letter in ledger.requests.outbox.letters().values()]
    return any(
        value_of(event, "type") == "response.cancel" and value_of(event, "response_id") in (None, response.id)
        for event in events
    )


def _loss(ledger: Ledger, entry: ItemEntry, item: ConversationItem) -> list[str]:
    """Return the description of an item that can't be restored; none if nothing is lost with it."""
    name = one_line(entry.id)
    size = ledger.audio.turn_size(entry)
    if size or (item.role == "user" and any(part.kind == "audio" for part in item.content)):
        length = f"{_ms(ledger, size)} ms of " if size else ""
        return [f"{length}the user's speech (item {name}): no transcript, and its audio is not kept"]
    if item.type in _SILENT and not item.text:
        return []
    return [f"item {name} ({one_line(item.type)}): a client can't create it"]


def _ms(ledger: Ledger, size: int) -> int:
    return size * 1000 // bytes_per_second(input_format(ledger.config))


def lost_audio(ledger: Ledger, heard_at: float) -> list[str]:
    """Return the description of the audio that was not committed and can't be sent again, if there is any.

    What the server has listened to without hearing the user is not lost.

    Args:
        ledger: What is known of the session.
        heard_at: When something last came from the server, on the clock of `time.monotonic`.
    """
    audio = ledger.audio
    begin = audio.emptied
    if ledger.requests.server_asks and not audio.speaks:
        begin = max(begin, audio.appended_at(heard_at))
    ms = _ms(ledger, audio.missing(begin))
    return [f"{ms} ms of the user's audio: more than audio_buffer= keeps"] if ms > 0 else []


def is_meant(event: Event, gone: Collection[ItemEntry]) -> bool:
    """Return whether an event that was not answered means something in another session."""
    kind, item_id = value_of(event, "type"), value_of(event, "item_id")
    if kind in ("response.cancel", "conversation.item.truncate"):
        return False  # no response runs, and of what was cut off only the beginning was restored
    return not (kind in _OF_ITEMS and any(item.id == item_id for item in gone))

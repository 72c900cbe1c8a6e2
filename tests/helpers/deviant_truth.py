"""What a `DeviantServer` shall do, and what is true of a talk with it."""

from dataclasses import dataclass, field

# --- What a response shall be ----------------------------------------------------------------------------


@dataclass
class Plan:
    """How the next response goes.

    Attributes:
        items: Of each its kind (``"text"``, ``"audio"`` or ``"call"``), and its deltas; of a call its name
            and arguments.
        ends: Its status.
        hold: After how many deltas it says ``test.held`` and waits for the client; ``None`` = never.
        has_done: Whether ``response.done`` is sent.
        waits_for_outputs: Whether it goes on behind a call only once that was answered.
        is_late: Whether it begins only behind the client's next event.
    """

    items: list[tuple[str, list[str]]]
    ends: str = "completed"
    hold: int | None = None
    has_done: bool = True
    waits_for_outputs: bool = False
    is_late: bool = False


# --- The truth -------------------------------------------------------------------------------------------


@dataclass
class Part:
    kind: str
    text: str = ""
    audio: bytes = b""
    cut_ms: int | None = None


@dataclass
class Item:
    wire_id: str
    kind: str
    role: str | None = None
    parts: list[Part] = field(default_factory=list)
    name: str | None = None
    call_id: str = ""
    arguments: str = ""
    output: str | None = None
    status: str = "in_progress"

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.parts if part.text)


@dataclass
class Answer:
    """A response that ran."""

    number: int
    wire_id: str | None
    plan: Plan
    event_id: str | None = None
    out_of_band: bool = False
    status: str = "in_progress"
    reason: str | None = None
    items: list[Item] = field(default_factory=list)
    deltas: int = 0
    begun: bool = False
    held: bool = False
    awaited: set[str] = field(default_factory=set)
    stop: tuple[str, str] | None = None

    @property
    def over(self) -> bool:
        return self.status != "in_progress"

    @property
    def is_blocked(self) -> bool:
        return self.held or bool(self.awaited)

    @property
    def text(self) -> str:
        return "\n".join(item.text for item in self.items if item.text)

    @property
    def audio(self) -> bytes:
        return b"".join(part.audio for item in self.items for part in item.parts)

    @property
    def calls(self) -> list[Item]:
        """The calls that were told to their end."""
        return [item for item in self.items if item.kind == "function_call" and item.status == "completed"]

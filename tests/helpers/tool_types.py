"""Types and functions for tools."""

import dataclasses
import datetime
import enum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta


class Unit(enum.Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


class Place(msgspec.Struct):
    """Somewhere."""

    city: str
    country: str = "NO"


@dataclasses.dataclass
class Span:
    first: datetime.date
    days: Annotated[int, Meta(ge=1)] = 1


class Point(NamedTuple):
    x: float
    y: float


class Custom:
    pass


def add(a: int, b: Annotated[int, Meta(ge=0)] = 0) -> int:
    return a + b


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Picky(msgspec.Struct):
    """Refuses whatever it is given."""

    why: str

    def __post_init__(self) -> None:
        raise {"mute": Mute(), "exit": SystemExit("not today"), "ctrl-c": KeyboardInterrupt()}[self.why]


def pick(it: Picky) -> None: ...

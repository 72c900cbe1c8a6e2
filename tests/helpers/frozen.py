"""A test whose time stands still."""

import contextlib
from collections.abc import Iterator
from datetime import datetime, timezone

import freezegun
import time_machine

WAYS = ["freezegun", "time_machine"]


@contextlib.contextmanager
def frozen(way: str) -> Iterator[None]:
    """Freeze the time, in one of the `WAYS`.

    Not a fixture: pytest's own clock would show a setup that took years.
    """
    moment = datetime(2012, 1, 14, tzinfo=timezone.utc)
    with freezegun.freeze_time(moment) if way == "freezegun" else time_machine.travel(moment, tick=False):
        yield

"""What is worth one line in the log."""

import logging

import pytest

from realtime_sync.speech.notices import log_once


def test_one_line_about_one_thing(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is told, and whatever else is told of."""
    with caplog.at_level(logging.WARNING, "realtime_sync.local"):
        for about in ("test: a", "test: b", "test: a"):
            log_once(about, f"{about} happened")
    assert [record.message for record in caplog.records] == ["test: a happened", "test: b happened"]

"""`sound.problems`: whom a problem with a file is told to."""

import pytest

from realtime_sync.sound.problems import report


def test_report(caplog: pytest.LogCaptureFixture) -> None:
    """A problem is told to the caller's function, or else to the log as a warning, as it stands."""
    told: list[str] = []
    report("50 % of it", told.append)
    assert told == ["50 % of it"]
    assert not caplog.records
    report("50 %s of it", None)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("realtime_sync", "WARNING", "50 %s of it")
    ]

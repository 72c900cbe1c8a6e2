"""`Latest`: a dict that forgets its oldest keys."""

from realtime_sync.session.latest import Latest


def test_the_oldest_is_forgotten() -> None:
    """Beyond its size each new key takes the place of the one that was added first."""
    latest: Latest[str, int] = Latest(2)
    for number, key in enumerate("abc"):
        latest[key] = number
    assert latest == {"b": 1, "c": 2}


def test_setting_anew_keeps_the_age() -> None:
    """A key that is set again has its new value, and is forgotten in its old turn."""
    latest: Latest[str, int] = Latest(2)
    latest["a"], latest["b"] = 1, 2
    latest["a"] = 3
    assert latest == {"a": 3, "b": 2}
    latest["c"] = 4
    assert latest == {"b": 2, "c": 4}


def test_a_removed_key_makes_room() -> None:
    """After a key was taken out, one more fits before another is forgotten."""
    latest: Latest[str, int] = Latest(2)
    latest["a"], latest["b"] = 1, 2
    assert latest.pop("b") == 2
    latest["c"] = 3
    assert latest == {"a": 1, "c": 3}


def test_a_removed_key_comes_back_as_the_newest() -> None:
    """A key that was taken out and is added again is as young as any new one."""
    latest: Latest[str, int] = Latest(2)
    latest["a"], latest["b"] = 1, 2
    del latest["a"]
    latest["a"] = 3
    latest["c"] = 4
    assert latest == {"a": 3, "c": 4}

"""The names of `realtime_sync.voice` are loaded on demand."""

import subprocess
import sys

import pytest

from realtime_sync import voice


@pytest.mark.parametrize("name", voice.__all__)
def test_public_names(name: str) -> None:
    """Each public name is the one that its module defines, and is listed for editors."""
    value = getattr(voice, name)
    assert value.__name__ == name
    assert value.__module__.startswith("realtime_sync.")
    assert name in dir(voice)


def test_unknown_name() -> None:
    """A name that doesn't exist is an AttributeError, as in any module."""
    with pytest.raises(AttributeError, match=r"'realtime_sync\.voice' has no attribute 'Conversion'"):
        voice.Conversion  # type: ignore[attr-defined]  # noqa: B018


def test_only_what_is_used_is_loaded() -> None:
    """``import realtime_sync.voice`` loads none of its parts, and all of them together nothing optional."""
    code = (
        "import sys; from realtime_sync import voice; "
        "print(*sys.modules); [getattr(voice, name) for name in voice.__all__]; print(*sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    first, all_of_it = (line.split() for line in printed.splitlines())
    assert [name for name in first if name.startswith("realtime_sync.voice.")] == []
    assert {"sounddevice", "numpy", "soxr", "tqdm", "requests", "asyncio"}.isdisjoint(all_of_it)

"""An ffmpeg that is a Python program of ours, on a path to programs on which there is nothing else."""

import os
import stat
import sys
from pathlib import Path

import pytest

# It does what the file it is to decode says, in Python; its arguments are ``sys.argv``.
OBEYS = """\
sys.argv[0] = "ffmpeg"
path = sys.argv[sys.argv.index("-i") + 1].removeprefix("file:")
exec(open(path).read(), {"path": path, "out": sys.stdout.buffer})
"""
# It finds 100 ms of silence in any file, and has nothing to complain of.
CONTENT = 'sys.stdout.buffer.write(bytes(round(0.2 * int(sys.argv[sys.argv.index("-ar") + 1]))))'

posix = pytest.mark.skipif(os.name != "posix", reason="the fake ffmpeg is a script")


def remove_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the path to programs one on which there are none, and return it."""
    programs = folder / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


def replace_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str = OBEYS) -> None:
    """Make this script the only program on the path."""
    program = remove_ffmpeg(folder, monkeypatch) / "ffmpeg"
    program.write_text(f"#!{sys.executable}\nimport os, sys\n{script}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)

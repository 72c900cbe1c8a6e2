"""The soak of `tests/benchmarks/soak.py`, for a minute."""

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parent / "benchmarks" / "soak.py"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="threads and memory are read from /proc")
def test_soak() -> None:
    """Voice sessions that are reset each second leave nothing behind, and lose nothing that is not told."""
    command = [sys.executable, str(SOAK), "--seconds", "60", "--sessions", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

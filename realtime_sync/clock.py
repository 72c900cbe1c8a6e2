"""The true time, also while a test has frozen it.

`freezegun` replaces the functions of the module `time`, and whatever other modules have imported from it.
What waits for another thread or for the network would then wait forever, so it reads the clock here.
"""

import importlib.util
from collections.abc import Callable
from types import ModuleType

__all__ = ["monotonic", "now"]


def _true_time() -> ModuleType:
    """Return a second copy of the module `time`, whose functions are other objects, so they stay."""
    spec = importlib.util.find_spec("time")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_time = _true_time()
monotonic: Callable[[], float] = _time.monotonic
"""Return the seconds of a clock that only goes forward: for delays and deadlines."""
now: Callable[[], float] = _time.time
"""Return the seconds since the epoch: for what is shown to others."""

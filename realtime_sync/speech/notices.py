"""What is worth one line in the log, however often it happens."""

import logging
import threading

__all__ = ["log_once"]

_log = logging.getLogger("realtime_sync.local")
_logged: set[str] = set()
_logging = threading.Lock()  # lets one of several threads be the one that logs


def log_once(about: str, message: str) -> None:
    """Log a warning, unless there was one about the same in this process."""
    with _logging:
        if about in _logged:
            return
        _logged.add(about)
    _log.warning("%s", message)

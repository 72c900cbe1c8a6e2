"""``python -m realtime_sync``: the command line, which is also installed as ``realtime-sync``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())

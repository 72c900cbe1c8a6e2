"""How Sphinx builds these pages: ``python -m sphinx -W -b html docs docs/_build/html``."""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from realtime_sync import __version__  # noqa: E402  # found by the line above, if it is not installed

project = "realtime_sync"
author = "the authors of realtime_sync"
project_copyright = "MIT licence"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"
# Docstrings name what is near them, such as `type`; of several with that name, any is good enough.
suppress_warnings = ["ref.python"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"realtime_sync {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]


def _allow_plurals(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Write "`Action`s" in docstrings as reStructuredText needs it."""
    lines[:] = [re.sub(r"(?<!`)(`[^`]+`)(?=[a-z])", r"\1\\ ", line) for line in lines]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _allow_plurals)

"""How Sphinx builds these pages: ``python -m sphinx -W -b html docs docs/_build/html``."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from msgspec import Struct  # noqa: E402
from sphinx.domains.python import PyObject  # noqa: E402

from realtime_sync import __version__  # noqa: E402  # found by a line above, if it is not installed
from realtime_sync.events import objects  # noqa: E402

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
add_module_names = False  # `rt.events` has them all, whatever file they are in
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"realtime_sync {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]


# --- Docstrings --------------------------------------------------------------------------------------
# They are written to be read in an editor.  What Napoleon and reStructuredText would take for something else
# is told them here.

_COLON = "\ue000"  # a private character, in place of a colon while Napoleon reads
_SEVERAL = re.compile(r"^:(ivar|param) [*\w]+(, [*\w]+)+:")


def _before_napoleon(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Keep colons in the docstrings of attributes: Napoleon would take what is before one for a type."""
    if what in ("attribute", "data", "property"):
        lines[:] = [re.sub(r":(?=\s|$)", _COLON, line) for line in lines]


def _after_napoleon(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Allow "`Action`s", and fields of several names: "code, type: ..."."""
    for number, line in enumerate(lines):
        line = re.sub(r"(?<!`)(`[^`]+`)(?=[a-z])", r"\1\\ ", line.replace(_COLON, ":"))
        lines[number] = _SEVERAL.sub(lambda found: found[0].replace(", ", ",\u200b"), line)


def _describe_struct(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Say of a struct what it is on the wire, who handles it, and what fields it has."""
    if what != "class" or not issubclass(thing, Struct):
        return
    fields = [
        f"``{field}: {_plain(parameter.annotation)}``"
        for field, parameter in inspect.signature(thing).parameters.items()
        if field != "event_id"
    ]
    facts = [f"Fields: {', '.join(fields)}."] if fields else []
    if tag := thing.__struct_config__.tag:
        facts.insert(0, f"On the wire: ``{tag}``.")
    if isinstance(handler := getattr(thing, "handler", None), str):
        facts.insert(1, f"Handler: ``{handler}``.")
    lines += ["", " ".join(facts), ""]


def _plain(annotation: Any) -> str:
    """A type as the source has it, without modules and without what stands for absence."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\b(\w+\.)+", "", text)
    text = re.sub(r" \| UnsetType|UnsetType \| ", "", text)
    for name in ("Item", "ContentPart", "Tool", "ToolChoice", "TurnDetection"):  # long unions
        whole = re.sub(r"\b(\w+\.)+", "", inspect.formatannotation(getattr(objects, name)))
        text = text.replace(whole, name)
    return text


def _no_signature(app: Any, what: str, name: str, thing: Any, *rest: Any) -> tuple[str, str] | None:
    """Leave the signature of a struct out: it is the list of its fields, without their types."""
    return ("", "") if what == "class" and issubclass(thing, Struct) else None


def _skip_handler(app: Any, what: str, name: str, *rest: Any) -> bool | None:
    """Leave out the class variable of each event that is told in the line above."""
    return True if name == "handler" else None


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", _after_napoleon, priority=600)
    app.connect("autodoc-process-docstring", _describe_struct, priority=700)
    app.connect("autodoc-process-signature", _no_signature)
    app.connect("autodoc-skip-member", _skip_handler)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"  # as the docstrings call them

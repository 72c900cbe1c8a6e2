"""The nearest right name for a misspelt one."""

from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the one of the known names, of which there is at least one, that is most like a misspelt one."""
    import difflib  # only here: most programs never need it

    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]

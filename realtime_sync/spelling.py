"""Names that are misspelt, and the nearest right ones."""

from collections.abc import Iterable

__all__ = ["check_options", "nearest"]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like a misspelt one.  There must be at least one known name."""
    import difflib  # only here: most programs never need it

    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


def check_options(caller: str, options: Iterable[str], declared: type, *more: str) -> None:
    """Refuse options that are not declared.

    Args:
        caller: Of the function, for the text of the error.
        options: The names that were given.
        declared: The `TypedDict` that declares the options.
        more: The other arguments that the caller takes by name.

    Raises:
        TypeError: One is unknown; the text has the nearest right name.
    """
    known = [*declared.__annotations__, *more]
    for name in options:
        if name not in known:
            raise TypeError(f"{caller}() has no option {name!r}; did you mean {nearest(name, known)!r}?")

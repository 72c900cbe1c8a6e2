"""Misspelt names, and the nearest right ones."""

from collections.abc import Iterable

__all__ = ["check_options", "nearest"]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like a misspelt one.  There must be at least one known name."""
    import difflib  # only here: most programs never need it

    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


def check_options(caller: str, options: Iterable[str], declared: type, *more: str) -> None:
    """Reject options that are not declared.

    Args:
        caller: The function's name, for the error message.
        options: The names that were given.
        declared: The `TypedDict` that declares the options.
        more: The other arguments that the function takes by name.

    Raises:
        TypeError: An option is unknown; the message names the nearest right one.
    """
    known = [*declared.__annotations__, *more]
    for name in options:
        if name not in known:
            raise TypeError(f"{caller}() has no option {name!r}; did you mean {nearest(name, known)!r}?")

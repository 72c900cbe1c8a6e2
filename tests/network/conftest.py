"""The runs on bad networks, and why there are none where there can't be."""

import os
from collections.abc import Iterator

import pytest
from bad_link import why_not
from bad_network import Runs


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where there can be no network namespaces."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def runs(namespaces: None, request: pytest.FixtureRequest) -> Iterator[Runs]:
    """Runs a program on a network. What the collected tests will ask for is begun at once, six at a time.

    Most of the time is waiting. Workers of xdist don't know which tests will be theirs, and begin nothing.
    """
    with Runs() as runs:
        if "PYTEST_XDIST_WORKER" not in os.environ:
            for item in request.session.items:
                params = getattr(getattr(item, "callspec", None), "params", {})
                if "network" in params and "runs" in getattr(item, "fixturenames", ()):
                    runs.begin(params["program"], params["network"], ctrl_c="ctrl_c" in item.name)
        yield runs

"""`Chain`: an order in which anything can be put anywhere."""

import threading

from hypothesis import given
from hypothesis import strategies as st
from scripted import DEADLINE

from realtime_sync.chain import Chain


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_as_a_list(steps: list[tuple[int, int]]) -> None:
    """It holds what a list holds to which the same was done, and knows its ends and neighbours."""
    chain: Chain[int] = Chain()
    plain: list[int] = []
    for thing, after in steps:
        if thing in chain:
            chain.remove(thing)
            plain.remove(thing)
        elif after in chain:
            chain.put(thing, after)
            plain.insert(plain.index(after) + 1, thing)
        else:
            chain.put(thing, None)
            plain.insert(0, thing)
        assert (list(chain), len(chain)) == (plain, len(plain))
        assert (chain.first, chain.last) == ((plain[0], plain[-1]) if plain else (None, None))
        assert [chain.before(each) for each in plain] == [None, *plain][: len(plain)]


def test_read_while_it_changes() -> None:
    """A thread that reads it while another one changes it sees what is there throughout, in order."""
    chain: Chain[int] = Chain()
    for number in range(0, 100, 2):
        chain.put(number, chain.last)
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            for number in range(1, 100, 2):
                chain.put(number, number - 1)
            for number in range(1, 100, 2):
                chain.remove(number)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(2000):
            found = list(chain)
            assert found == sorted(found)
            assert set(range(0, 100, 2)) <= set(found)
    finally:
        over.set()
        thread.join(DEADLINE)

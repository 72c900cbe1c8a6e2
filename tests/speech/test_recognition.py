"""What recognisers have in common."""

from concurrent.futures import ThreadPoolExecutor

from talking import FOX, spoken

from realtime_sync.sound.formats import silence
from realtime_sync.speech.pool import Pool
from realtime_sync.speech.recognition import Recognition
from realtime_sync.speech.transcribers import Heard


def test_words_come_piece_by_piece() -> None:
    """Each with the space before it; a piece without words leaves no trace, and models aren't kept."""
    texts = iter([" One two. ", "", "Three", "四"])
    pool = Pool(lambda: texts, 1)
    audio = (spoken(FOX) * 4 + silence(2)) * 3
    words = Recognition(Heard(audio, "audio/pcm", 0.0), pool, lambda model, pcm: next(model, "more"))
    assert next(words) == "One"
    with pool.borrowed():
        assert next(words) == " two."
    assert list(words)[:2] == [" Three", " 四"]


def test_what_is_not_wanted_any_longer_takes_no_model() -> None:
    """Who has closed it while it waited for a model has it end there, and the next one's turn comes."""
    pool, used = Pool(lambda: "model", 1), []

    def recognise(model: str, pcm: bytes) -> str:
        used.append(model)
        return "Never."

    words = Recognition(Heard(spoken(FOX), "audio/pcm", 0.0), pool, recognise)
    with pool.borrowed(), ThreadPoolExecutor(1) as executor:
        left = executor.submit(list, words)
        words.close()
        pool._free.put(None)  # another model comes free
        assert left.result(10) == []
    assert not used

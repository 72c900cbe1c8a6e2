"""A recording of both sides of a talk."""

import wave
from itertools import zip_longest

from ..sound.formats import PCM_RATE, bytes_of, samples_of

__all__ = ["StereoRecording"]


class StereoRecording:
    """Both sides in real time, PCM of 24 kHz: the user left, the model right, as a speaker would play it.

    The user's side is the clock: what the model says begins where the user's side ends at that moment, or
    where what it has said before ends.
    """

    def __init__(self) -> None:
        self._user = bytearray()
        self._model = bytearray()

    def user(self, audio: bytes) -> None:
        """Add what the user says, silence included."""
        self._user += audio

    def model(self, audio: bytes) -> None:
        """Add what the model says."""
        self._model += bytes(max(len(self._user) - len(self._model), 0)) + audio

    @property
    def is_quiet(self) -> bool:
        """Whether all that the model has said is played."""
        return len(self._model) <= len(self._user)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return max(len(self._user), len(self._model)) / 2 / PCM_RATE

    def save(self, path: str) -> None:
        """Write it as WAV.

        Raises:
            OSError: It can't be written.
        """
        sides = zip_longest(samples_of(bytes(self._user)), samples_of(bytes(self._model)), fillvalue=0)
        with wave.open(path, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(PCM_RATE)
            file.writeframes(bytes_of(sample for pair in sides for sample in pair))

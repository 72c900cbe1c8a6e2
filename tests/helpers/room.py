"""A loudspeaker and a microphone in one room, which runs by the test's clock."""

import math
from typing import Any

import numpy as np
from clock import Clock
from fake_devices import Stream


class Room:
    """Lets a microphone hear what a loudspeaker plays, and whoever else speaks there.

    What is said are NumPy's arrays of floats, as large as samples of 16 bits.

    Args:
        clock: The time, which goes on with each block.
        delay: Seconds until the microphone hears the loudspeaker, devices included.
        gain_db: How loud it hears it.
        noise_db: How loud the room is without both, in dBFS.
        late: Seconds by which every second block of the loudspeaker is taken later than it should be.
        seed: Another room for each.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        delay: float = 0.06,
        gain_db: float = -6.0,
        noise_db: float = -60.0,
        late: float = 0.0,
        seed: int = 1,
        rate: int = 24_000,
    ) -> None:
        self._clock = clock
        self._random = np.random.default_rng(seed)
        self._noise = 32_768 * 10 ** (noise_db / 20)
        self._late = late
        self._rate = rate
        self._block = rate // 50
        length = int(0.35 * rate)
        walls = self._random.standard_normal(length) * np.exp(-np.linspace(0, 6.9, length))
        answer = np.concatenate([[1.0], 0.06 * walls])
        answer *= 10 ** (gain_db / 20) / math.sqrt(float(np.sum(answer**2)))
        self._answer = np.concatenate([np.zeros(int(delay * rate)), answer])
        self._size = 1 << (len(self._answer) + self._block).bit_length()
        self._spectrum = np.fft.rfft(self._answer, self._size)
        self._sounding = np.zeros(self._size)

    def block(self, loudspeaker: Stream, microphone: Stream, said: Any = None, odd: bool = False) -> None:
        """Let 20 ms pass, in which someone may speak into the microphone."""
        self._clock.now += self._late * odd
        played = np.frombuffer(loudspeaker.play(self._block, 0.05), "<i2").astype(float)
        self._clock.now += self._block / self._rate - self._late * odd
        self._sounding += np.fft.irfft(np.fft.rfft(played, self._size) * self._spectrum, self._size)
        heard = self._sounding[: self._block] + self._random.standard_normal(self._block) * self._noise
        heard = heard + said
        self._sounding = np.concatenate([self._sounding[self._block :], np.zeros(self._block)])
        microphone.hear(np.clip(np.rint(heard), -32_768, 32_767).astype("<i2").tobytes())

    def run(
        self,
        loudspeaker: Stream,
        microphone: Stream,
        seconds: float,
        said: Any = None,
        at: float = 0,
    ) -> None:
        """Let some time pass, in which someone says something at a time in it."""
        voice = np.zeros(int(seconds * self._rate) + self._block)
        if said is not None:
            start = int(at * self._rate)
            part = said[: len(voice) - start]
            voice[start : start + len(part)] = part
        for n in range(int(seconds * 50)):
            self.block(
                loudspeaker, microphone, voice[n * self._block : (n + 1) * self._block], odd=n % 2 == 1
            )


def decibels(sound: Any) -> float:
    """How loud audio is, in dBFS."""
    samples = np.frombuffer(sound, "<i2").astype(float) if isinstance(sound, bytes) else sound
    return 20 * math.log10(math.sqrt(float(np.mean(samples**2))) / 32_768 + 1e-9)

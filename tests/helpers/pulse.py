"""A sound system of the test's own: PulseAudio with devices that are none, and programs that use them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from scripted import DEADLINE
from threads import wait_until

MISSING = [name for name in ("pulseaudio", "pactl") if shutil.which(name) is None]
"""What has to be installed for it, and isn't."""

_ALSA = """
pcm_type.pulse { lib "libasound_module_pcm_pulse.so" }
pcm.pulse { type pulse }
pcm.!default { type pulse }
pcm.speaker { type pulse device "room" hint { show on description "speaker" } }
pcm.mic { type pulse device "room.monitor" hint { show on description "mic" } }
"""


class Pulse:
    """Has a speaker, ``speaker``, and a microphone, ``mic``, that hears it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "asound.conf").write_text(_ALSA)
        self.env = {
            **os.environ,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "PULSE_SERVER": f"unix:{folder / 'native'}",
        }

    def __enter__(self) -> "Pulse":
        options = ["--daemonize=no", "--exit-idle-time=-1", "-n", "--use-pid-file=no", "--log-target=stderr"]
        socket = f"module-native-protocol-unix auth-anonymous=1 socket={self._folder / 'native'}"
        self._server = subprocess.Popen(
            ["pulseaudio", *options, "-L", socket], env=self.env, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: self._pactl("info").returncode == 0)
        self.plug_in()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.terminate()
        self._server.wait(DEADLINE)

    def _pactl(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["pactl", *command], env=self.env, capture_output=True, text=True)

    def pactl(self, *command: str) -> str:
        """Give a command, and return the answer."""
        done = self._pactl(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def plug_in(self) -> None:
        self._module = self.pactl("load-module", "module-null-sink", "sink_name=room", "rate=48000")

    def unplug(self) -> None:
        self.pactl("unload-module", self._module)

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start Python with these devices."""
        return subprocess.Popen(
            [sys.executable, *command],
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

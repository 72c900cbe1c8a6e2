"""A forwarder for `soak.py`: carries connections to a port of this machine, and resets one now and then.

``resetter.py PORT SECONDS SEED`` prints its own port on its first line.  After a line ``strike`` on standard
input, one connection each SECONDS ends with TCP's RST in both directions, whatever is on its way; after a
line ``calm`` none does.  Each reset is a line of output.  It ends when its input does.
"""

import asyncio
import contextlib
import random
import socket
import struct
import sys

_LATENCY = 0.04  # seconds that each read is held back, so that a reset meets what is on its way
_RESET = struct.pack("ii", 1, 0)  # closing discards what was not sent, and sends RST


class Forwarder:
    """Carries connections to one port."""

    def __init__(self, port: int, draw: random.Random) -> None:
        self._port = port
        self._draw = draw
        self._open: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._port)
        pair = (writer, there)
        self._open.append(pair)
        try:
            await asyncio.gather(_pump(reader, there), _pump(there_reader, writer))
        finally:
            self._open.remove(pair)
            for end in pair:
                end.close()

    async def strike(self, seconds: float, armed: asyncio.Event) -> None:
        """Reset some connection, again and again."""
        while True:
            await armed.wait()
            await asyncio.sleep(seconds)
            if self._open and armed.is_set():
                for end in self._draw.choice(self._open):
                    _reset(end)
                print("reset", flush=True)


def _reset(end: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # it has just ended by itself
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            await asyncio.sleep(_LATENCY)
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def main(port: int, seconds: float, seed: int) -> None:
    forwarder, armed = Forwarder(port, random.Random(seed)), asyncio.Event()
    server = await asyncio.start_server(forwarder.carry, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    striking = asyncio.create_task(forwarder.strike(seconds, armed))
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while order := await orders.readline():
        armed.set() if order == b"strike\n" else armed.clear()
    striking.cancel()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))

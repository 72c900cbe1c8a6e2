"""Proxies for tests: a SOCKS proxy, and what carries bytes between two sockets."""

import contextlib
import socket
import struct
import threading

from scripted import DEADLINE, Caller


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def relay(caller: Caller, port: int, agree: bytes) -> None:
    """Carry bytes between a caller and a server of this machine until both are done."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as upstream:
        caller.raw(agree)
        # Carries one direction, while the script carries the other.
        back = threading.Thread(target=pump, args=(upstream, caller.sock), daemon=True)
        back.start()
        pump(caller.sock, upstream)
        back.join(DEADLINE)


Asked = tuple[str, str]  # the kind of address and the address that a proxy was asked for


class SocksProxy:
    """A SOCKS proxy, version 4 and 5, whose every connection leads to one port."""

    def __init__(self, port: int = 0, login: tuple[str, str] | None = None, reply: int = 0) -> None:
        self.port = port
        self.login = login
        self.reply = reply
        self.asked: list[Asked] = []

    def __call__(self, caller: Caller) -> None:
        sock = caller.sock
        if read(sock, 1) == b"\x04":
            self._ask_4(sock)
            agree = struct.pack("!BBH4s", 0, 0x5A + self.reply, 0, bytes(4))
        else:
            if not self._greet_5(sock):
                return
            self._ask_5(sock)
            # The address it connects from is a name, the longest of the forms it may have.
            agree = struct.pack("!BBBBB4sH", 5, self.reply, 0, 3, 4, b"here", 1)
        if self.reply:
            caller.raw(agree)
        elif self.port:
            relay(caller, self.port, agree)
        else:
            caller.raw(agree + b"hello")
            assert sock.recv(1) == b""

    def _ask_4(self, sock: socket.socket) -> None:
        _, _, address = struct.unpack("!BH4s", read(sock, 7))
        assert self._text(sock) == (self.login[0] if self.login else "")
        if address[:3] == b"\x00\x00\x00":
            self.asked.append(("name", self._text(sock)))
        else:
            self.asked.append(("address", socket.inet_ntoa(address)))

    def _text(self, sock: socket.socket) -> str:
        text = b""
        while (byte := read(sock, 1)) != b"\x00":
            text += byte
        return text.decode()

    def _greet_5(self, sock: socket.socket) -> bool:
        methods = read(sock, read(sock, 1)[0])
        if self.login is None:
            sock.sendall(b"\x05\x00")
            return True
        if 2 not in methods:
            sock.sendall(b"\x05\xff")
            return False
        sock.sendall(b"\x05\x02")
        assert read(sock, 1) == b"\x01"
        login = tuple(read(sock, read(sock, 1)[0]).decode() for _ in range(2))
        sock.sendall(b"\x01\x00" if login == self.login else b"\x01\x01")
        return login == self.login

    def _ask_5(self, sock: socket.socket) -> None:
        version, command, _, kind = read(sock, 4)
        assert (version, command) == (5, 1)
        if kind == 3:
            self.asked.append(("name", read(sock, read(sock, 1)[0]).decode()))
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            self.asked.append(("address", socket.inet_ntop(family, read(sock, size))))
        read(sock, 2)


def read(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer at the end."""
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data

"""A wire between a gateway and the real service that can be cut, held or made to talk nonsense, and that listens in.

The service behind it is the real one. `received` holds all that a gateway ever sent: what is not in it did not
leave. `sent` holds what the service answered.
"""

import socket
import threading
import time
from contextlib import suppress
from typing import Final, Literal

Mood = Literal["passing", "dead", "hanging", "slow", "html", "noise", "error", "nameless", "dripping", "endless"]
#: Everything that can be wrong with a service that should answer.
BAD_MOODS: Final = ("dead", "hanging", "slow", "html", "noise", "error", "nameless", "dripping", "endless")
#: Longer than any test waits: an answer that comes so late was not waited for.
SLOW_S: Final = 20.0

_ANSWERS: Final = {
    "html": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 21\r\n\r\n<html>Welcome!</html>",
    "noise": b"\x16\x03\x01\x00\xa5 220 mail ready\r\n",
    "error": b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}",
    "nameless": b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"model": 17}',
}
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"


class Relay:
    """Listens on a port of its own and passes on to `target`, unless its mood is another."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.received = bytearray()
        self.sent = bytearray()
        self.n_connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._mood: Mood = "passing"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    def turn(self, mood: Mood) -> None:
        """Change the mood; connections of the old one are cut."""
        was_dead, self._mood = self._mood == "dead", mood
        if mood == "dead" and not was_dead:
            self._stop_listening()
        self._cut()
        if was_dead and mood != "dead":
            self._listener = socket.create_server(self.address)
            self._listen()

    def close(self) -> None:
        self._released.set()
        if self._mood != "dead":
            self._mood = "dead"
            self._stop_listening()
        self._cut()

    def _listen(self) -> None:
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._thread.start()

    def _stop_listening(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _cut(self) -> None:
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.n_connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        with suppress(OSError), connection:
            match self._mood:
                case "passing":
                    self._pass(connection)
                case "slow":
                    self._listen_in(connection)
                    self._released.wait(SLOW_S)
                case "dripping" | "endless":
                    self._listen_in(connection)
                    self._drip(connection)
                case "hanging":
                    while self._listen_in(connection):
                        pass
                case "dead":
                    pass
                case nonsense:
                    self._listen_in(connection)
                    connection.sendall(_ANSWERS[nonsense])

    def _drip(self, connection: socket.socket) -> None:
        """Send what never ends: slowly, so that each wait is short, or as fast as it is read."""
        is_slow = self._mood == "dripping"
        piece = b" " if is_slow else b" " * 65536
        connection.sendall(_HEAD)
        while not self._released.is_set():
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            time.sleep(0.02 if is_slow else 0)

    def _pass(self, connection: socket.socket) -> None:
        with socket.create_connection(self.target) as target:
            with self._lock:
                self._open.add(target)
            back = threading.Thread(target=self._pump, args=(target, connection), daemon=True)
            back.start()
            while chunk := self._listen_in(connection):
                target.sendall(chunk)
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)
            back.join(10)

    def _listen_in(self, connection: socket.socket) -> bytes:
        chunk = connection.recv(262144)
        self.received += chunk
        return chunk

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(262144):
                self.sent += chunk
                sink.sendall(chunk)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

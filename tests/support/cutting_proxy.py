"""A TCP proxy that cuts connections: each after a random number of bytes, until its cuts are used up."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from types import TracebackType


class CuttingProxy:
    """Listens on a port of loopback and forwards to another. The first ``cuts`` connections are reset."""

    def __init__(self, to: int, cuts: int, most_bytes: int, seed: int) -> None:
        self._to = to
        self._left = cuts
        self._most = most_bytes
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.made = 0
        """Cuts so far."""

    def __enter__(self) -> CuttingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            budget = None
            if self._left > 0:
                self._left -= 1
                budget = [self._random.randint(0, self._most)]
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(one, other, budget), daemon=True).start()

    def _forward(self, one: socket.socket, other: socket.socket, budget: list[int] | None) -> None:
        """``budget`` is shared by both directions: what is left of it is cut off with a reset."""
        try:
            while data := one.recv(1 << 16):
                if budget is not None:
                    if len(data) > budget[0]:
                        other.sendall(data[: budget[0]])
                        self._reset(one, other)
                        return
                    budget[0] -= len(data)
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _reset(self, *ends: socket.socket) -> None:
        self.made += 1
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it, which a close does not
            end.close()

"""Passes requests to a page that answers them, and its answers back.

The page reads a stream of work, a JSON line each, and posts the parts of its answers. A part is the status and type of
an answer, a piece of its text, or its end. Whoever asked and has gone is told to the page, which then stops.
"""

from __future__ import annotations

import itertools
import json
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

Part = dict[str, Any]
MOST_WAITING = 64  # requests at a time
MOST_PARTS = 8  # posts of the page that wait for a slow reader; the engine waits with them
LOOK_SECONDS = 0.1  # how often a waiting side looks whether the other has gone
ALIVE_SECONDS = 10.0
PAGE_SECONDS = (
    2.0  # how long a request waits for the page, which begins its stream when the models are loaded
)


class RelayError(Exception):
    """A request that the page does not answer: the HTTP status, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Exchange:
    """A request under way."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.parts: queue.Queue[list[Part]] = queue.Queue(MOST_PARTS)
        self.ended = False  # the page has said all
        self.left = threading.Event()  # nobody reads any more


class Relay:
    """Between the server's threads and one page. ``token`` is in the page's addresses, so that no other has them."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(16)
        self._numbers = itertools.count(1)
        self._lock = threading.Condition()
        self._exchanges: dict[int, Exchange] = {}
        self._work: queue.Queue[Part | None] = queue.Queue()
        self._page = False
        self._closed = threading.Event()

    def ask(self, method: str, path: str, body: str | None) -> Exchange:
        """Give the page a request. Raises RelayError where there is no page, or too many wait."""
        with self._lock:
            self._lock.wait_for(lambda: self._page or self._closed.is_set(), PAGE_SECONDS)
            if self._closed.is_set():
                raise RelayError(503, "The server is stopping.")
            if not self._page:
                raise RelayError(503, "The model is not loaded yet: try again soon.")
            if len(self._exchanges) >= MOST_WAITING:
                raise RelayError(429, f"{MOST_WAITING} requests wait already: try again later.")
            exchange = Exchange(next(self._numbers))
            self._exchanges[exchange.number] = exchange
        self._work.put({"id": exchange.number, "method": method, "path": path, "body": body})
        return exchange

    def parts(self, exchange: Exchange, gone: Callable[[], bool]) -> Iterator[Part]:
        """What the page answers, up to its end. Stops early where ``gone`` says that nobody waits any more."""
        while not exchange.ended:
            try:
                parts = exchange.parts.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                if gone():
                    return
                if self._closed.is_set() or exchange.left.is_set():
                    raise RelayError(503, "The page with the model has gone.") from None
                continue
            for part in parts:
                exchange.ended = exchange.ended or bool(part.get("end"))
                yield part

    def leave(self, exchange: Exchange) -> None:
        """Nobody reads the answer any more; the page stops where it has not ended."""
        exchange.left.set()
        with self._lock:
            self._exchanges.pop(exchange.number, None)
        if not exchange.ended:
            self._work.put({"abort": exchange.number})

    def work(self) -> Iterator[bytes]:
        """The page's stream: its requests, and empty lines which show that it is still there."""
        with self._lock:
            if self._page:
                raise RelayError(409, "A page is at work already.")
            self._page = True
            self._lock.notify_all()
        try:
            yield b"\n"
            while not self._closed.is_set():
                try:
                    task = self._work.get(timeout=ALIVE_SECONDS)
                except queue.Empty:
                    yield b"\n"
                    continue
                if task is not None:
                    yield json.dumps(task).encode() + b"\n"
        finally:
            with self._lock:
                self._page = False
                for exchange in self._exchanges.values():
                    exchange.left.set()

    def answer(self, number: int, parts: list[Part]) -> bool:
        """Parts from the page, taken as fast as they are read. False where nobody waits for them."""
        with self._lock:
            exchange = self._exchanges.get(number)
        while exchange and not exchange.left.is_set() and not self._closed.is_set():
            try:
                exchange.parts.put(parts, timeout=LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def close(self) -> None:
        """End the page's stream; requests under way fail."""
        self._closed.set()
        self._work.put(None)

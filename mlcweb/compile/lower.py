"""Lowers a job's tiers: from the kernel cache, else each in a process of its own, else in this process."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

from mlcweb.compile.dump import Dump
from mlcweb.compile.job import Job
from mlcweb.compile.log_lines import SendingHandler, log_tier, received_record
from mlcweb.compile.tier import LoweredTier, lower_tier, tier_key
from mlcweb.cores import cores
from mlcweb.debug import CHOICE, logger
from mlcweb.kernel_cache import VARIABLE, open_cache
from mlcweb.kernels.choice.tier import Tier
from mlcweb.progress import Progress

_log = logger("compile.lower")


def lower_tiers(job: Job, progress: Progress, dump: Dump | None = None) -> list[LoweredTier]:
    """The job's tiers, in order. With ``dump``, which gets all that is made on the way, no cache is asked.

    Raises CompileError.
    """
    cache = open_cache() if dump is None else None
    progress.start("lower", len(job.tiers))
    done: dict[str, LoweredTier] = {}
    for tier in job.tiers:
        cached = cache.read(tier_key(job, tier)) if cache else None
        if cached is not None:
            _log.log(CHOICE, "tier %s: kept in the kernel cache; %s= lowers it again", tier.name, VARIABLE)
            done[tier.name] = LoweredTier.from_json(tier, cached)
            progress.advance(1)
    missing = [tier for tier in job.tiers if tier.name not in done]

    def lower(tier: Tier) -> LoweredTier:
        return lower_tier(job, tier, cache, None if dump is None else dump.tier(tier.name))

    with closing(_in_processes(missing, lambda tier: lower(tier).to_json())) as results:
        for tier, value in results:
            # what failed in its process fails here again, and is reported from here
            where = "was lowered in a process of its own" if value else "is lowered in this process"
            _log.log(CHOICE, "tier %s: %s", tier.name, where)
            done[tier.name] = LoweredTier.from_json(tier, value) if value else lower(tier)
            progress.advance(1)
    if cache and missing:
        cache.prune()
    for tier in job.tiers:
        log_tier(done[tier.name])
    return [done[tier.name] for tier in job.tiers]


def _in_processes(
    tiers: Sequence[Tier], lower: Callable[[Tier], Any]
) -> Generator[tuple[Tier, Any | None], None, None]:
    """Each tier with what ``lower`` made of it in another process, as they finish; None where it made nothing."""
    workers = min(len(tiers), cores()) if _can_fork() else 1
    if workers < 2:
        yield from ((tier, None) for tier in tiers)
        return
    waiting = list(tiers)
    running: dict[Connection, tuple[int, Tier]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                tier = waiting.pop(0)
                connection, pid = _fork(partial(lower, tier), running)
                running[connection] = pid, tier
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                message = _received(ready)
                record = received_record(message)
                if record is not None:
                    logging.getLogger(record.name).handle(record)
                    continue
                pid, tier = running.pop(ready)
                ready.close()
                os.waitpid(pid, 0)
                yield tier, message
    finally:
        for connection, (pid, _) in running.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            connection.close()


def _can_fork() -> bool:
    """A forked process has TVM loaded, which takes longer than a tier otherwise; not safe with macOS's libraries.

    Of the threads that do not follow into it, only ours that draw progress may run: they hold no lock that lowering
    takes. Who compiles in other threads may hold TVM's.
    """
    return sys.platform == "linux" and threading.current_thread() is threading.main_thread()


def _fork(work: Callable[[], Any], others: Iterable[Connection]) -> tuple[Connection, int]:
    """Start ``work`` in a copy of this process; returns where its result arrives, and its id."""
    receiver, sender = Pipe(duplex=False)
    # until the copy has its own handlers, a Ctrl-C would unwind it as if it were this process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, where threads draw progress
            pid = os.fork()
        if pid == 0:
            _send_and_exit(work, sender, [receiver, *others], before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    sender.close()
    return receiver, pid


def _send_and_exit(
    work: Callable[[], Any], sender: Connection, unused: Iterable[Connection], signals: Iterable[int]
) -> NoReturn:
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers to Ctrl-C, and ends this process
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        for connection in unused:  # else sending to a parent that was killed would wait forever
            connection.close()
        SendingHandler.install(sender)  # what is logged here reaches stderr through the parent, whole
        sender.send_bytes(json.dumps(work()).encode())
        status = 0
    except BaseException:
        pass  # the parent does the work again, and reports what is wrong
    finally:
        os._exit(status)  # no exit handlers of the parent's, and nothing written that it had buffered


def _received(connection: Connection) -> Any | None:
    try:
        return json.loads(connection.recv_bytes())
    except (EOFError, OSError):
        return None

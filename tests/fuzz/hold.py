"""What every damaged file must do: be read, or be refused by one MlcwebError, soon and in little memory."""

from __future__ import annotations

import resource
import time
import traceback
from collections.abc import Callable
from typing import Any

from mlcweb.errors import MlcwebError
from tests.fuzz.mutate import MUTATIONS

# Ordinary files of these sizes take a few milliseconds and megabytes; on a busy machine many times that.
MAX_SECONDS = 20.0
MAX_BYTES = 512 << 20


def hold(attempts: Callable[[int], tuple[Any, Callable[[], object]]], count: int = MUTATIONS) -> None:
    """Run attempt ``i``, of a description and a call, for each i; fail with the first that does anything else.

    But for few tries some of the files must be refused and some read, or the test tests nothing.
    """
    read = refused = 0
    for i in range(count):
        said, call = attempts(i)
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            call()
            read += 1
        except MlcwebError as error:
            assert error.message and "\n" not in error.message.strip()[:1], (i, said)
            refused += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise AssertionError(
                f"mutation {i}: {said}\n{''.join(traceback.format_exception(error))[-3000:]}"
            ) from None
        seconds = time.monotonic() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        assert seconds < MAX_SECONDS, f"mutation {i} took {seconds:.1f} s: {said}"
        assert grown < MAX_BYTES, f"mutation {i} took {grown >> 20} MiB: {said}"
    assert refused or count < 100, "nothing was refused"
    assert read or count < 100, "nothing was read"

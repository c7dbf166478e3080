"""Damaged GGUF headers: each opens, or ends in an error of mlcweb, soon and in little memory.

MLCWEB_FUZZ is the number of mutations, of all files together; a failure names the one that makes it again.
"""

from __future__ import annotations

import os
import signal
import struct
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mlcweb.errors import MlcwebError
from mlcweb.sources import open_checkpoint
from mlcweb.sources.gguf.rope import llama3_factors
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.gguf_converter import write_gguf as write_case
from tests.support.gguf_layout import Layout, encode
from tests.support.gguf_metadata import sentencepiece_file
from tests.support.llama_gguf import write_gguf
from tests.support.tiny import TinyLlama

MUTATIONS = int(os.environ.get("MLCWEB_FUZZ", "80"))
# The files have up to 5 MB and open in a tenth of a second, in less memory than they have.
LARGEST, LONGEST_S = 64 << 20, 60
EXTREMES = (0, 1, 2, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
FLOATS = (0.0, -1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan"))
Rng = np.random.Generator


def write_llama(path: Path) -> Path:
    factors = llama3_factors(16, 10000.0, 8.0, 1.0, 4.0, 64)
    return write_gguf(path, TinyLlama(dtype="float32", layers=1), factors=factors)


def write_sentencepiece(path: Path) -> Path:
    """A Llama with the tokenizer of the other kind."""
    metadata = sentencepiece_file().metadata
    write_gguf(path, TinyLlama(dtype="float32", layers=1))
    path.write_bytes(Layout.read(path.read_bytes()).with_tokenizer(metadata).write())
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "llama": write_llama,
    "sentencepiece": write_sentencepiece,
    # between them, every way of undoing what the converter did
    **{
        name: partial(write_case, case=BY_NAME[name])
        for name in ("mixtral", "gemma-3", "llama-yarn", "phi-3.5-long", "stablelm-2-12b", "gpt2", "pythia")
    },
    "phi-2": partial(write_case, case=BY_NAME["phi-2"], fuse=True),
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_open_or_are_refused(name: str, tmp_path: Path) -> None:
    path = FILES[name](tmp_path / "x.gguf")
    data = path.read_bytes()
    open_all(path)
    # each file has other mutations
    each, refused = -(-MUTATIONS // len(FILES)), 0
    first = list(FILES).index(name) * each
    for number in range(first, first + each):
        path.write_bytes(mutate(data, np.random.default_rng(number)))
        with bounded(f"{name}, mutation {number}"):
            try:
                open_all(path)
            except MlcwebError as error:
                assert "x.gguf" in error.message and len(error.message) < 1000, error.message[:2000]
                refused += 1
    assert refused > each // 4  # else the mutations reach nothing


def open_all(path: Path) -> None:
    checkpoint = open_checkpoint(str(path))
    for tensor in checkpoint.tensors.values():
        tensor.read(slice(0, 1))
        if tensor.gguf_blocks is not None:
            tensor.gguf_blocks.load_rows(0, 1)


@contextmanager
def bounded(what: str) -> Iterator[None]:
    """Anything but success and errors of mlcweb fails, and so do a hang and a large allocation."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_S)
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except (Exception, RecursionError) as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {str(error)[:300]}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < LARGEST, f"{what}: {peak >> 20} MiB"


def mutate(content: bytes, rng: Rng) -> bytes:
    """A change or two, to bytes or to what they mean."""
    for _ in range(1 + (rng.random() < 0.3)):
        try:
            file = Layout.read(content)
        except (struct.error, ValueError, KeyError, OverflowError):
            return content  # a change made it unreadable, so nothing in it can be named for another
        content = CHANGES[rng.integers(len(CHANGES))](content, file, rng)
    return content


def _flip(content: bytes, file: Layout, rng: Rng) -> bytes:
    changed = bytearray(content)
    header = len(content) - len(file.data)
    for at in rng.integers(0, header, rng.integers(1, 9)):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content: bytes, file: Layout, rng: Rng) -> bytes:
    return content[: rng.integers(0, len(content))]


def _cut_header(content: bytes, file: Layout, rng: Rng) -> bytes:
    return content[: rng.integers(0, len(content) - len(file.data))]


def _extreme_number(content: bytes, file: Layout, rng: Rng) -> bytes:
    """In the place of a count, a length, a type, a dimension, an offset, or anything."""
    changed, size = bytearray(content), int(rng.choice([4, 8]))
    number = int(rng.choice(np.array(EXTREMES, object))) % (1 << 8 * size)
    at = int(rng.integers(4, len(content) - len(file.data) - 8))
    if rng.random() < 0.5:
        at = int(rng.choice(_places(file)))
    changed[at : at + size] = number.to_bytes(size, "little")
    return bytes(changed)


def _places(file: Layout) -> list[int]:
    """Where counts, lengths and types are."""
    places, at = [8, 16], 24
    for i, (key, raw) in enumerate((*file.values, *file.tensors)):
        start = at + 8 + len(key)
        places += [at, start, start + 4]
        if i < len(file.values):
            places += [start + 8, start + 16] if raw.startswith(b"\x09") else []
        else:
            places += range(start + 4, start + len(raw), 4)
        at = start + len(raw)
    return places


def _other_value(content: bytes, file: Layout, rng: Rng) -> bytes:
    """A key gets another's value, an extreme, or one of another type."""
    values = list(file.values)
    at = int(rng.integers(len(values)))
    number = int(rng.choice(np.array(EXTREMES, object)))
    choices = [
        values[int(rng.integers(len(values)))][1],
        struct.pack("<IQ", 10, number),
        struct.pack("<Iq", 11, -int(number >> 1)),
        struct.pack("<IfI", 6, float(rng.choice(FLOATS)), 0)[:8],
        struct.pack("<Id", 12, float(rng.choice([*FLOATS, 1e300]))),
        struct.pack("<IB", 7, int(rng.integers(256))),
        struct.pack("<IIQ", 9, int(rng.integers(14)), 0),
        struct.pack("<IIQ3f", 9, 6, 3, *rng.choice(FLOATS, 3)),
        struct.pack("<IIQIQ", 9, 9, 1, 9, 0),
        encode(str(rng.choice(["", "llama", "gpt2", "é🚀", "x" * 100_000]))),
    ]
    values[at] = (values[at][0], choices[int(rng.integers(len(choices)))])
    return replace(file, values=values).write()


def _other_entries(content: bytes, file: Layout, rng: Rng) -> bytes:
    """One is left out, repeated, or named as another."""
    values, tensors = list(file.values), list(file.tensors)
    entries = values if rng.random() < 0.5 else tensors
    if entries:
        at, other = (int(i) for i in rng.integers(len(entries), size=2))
        kind = rng.integers(3)
        if kind == 0:
            del entries[at]
        elif kind == 1:
            entries.append(entries[at])
        else:
            entries[at] = (entries[other][0], entries[at][1])
    return replace(file, values=values, tensors=tensors).write()


def _other_tensor(content: bytes, file: Layout, rng: Rng) -> bytes:
    """A tensor gets other dimensions, type or place, or another's."""
    tensors = list(file.tensors)
    if not tensors:
        return content
    at = int(rng.integers(len(tensors)))
    shape = [
        int(rng.choice(np.array([*EXTREMES, 3, 16, 32, 64, 256], object))) for _ in range(rng.integers(0, 6))
    ]
    raw = struct.pack(
        f"<I{len(shape)}QIQ", len(shape), *shape, rng.integers(45), rng.choice([0, 32, 1, 2**40])
    )
    if rng.random() < 0.5:
        raw = tensors[int(rng.integers(len(tensors)))][1]
    tensors[at] = (tensors[at][0], raw)
    return replace(file, tensors=tensors).write()


CHANGES = (
    _flip,
    _cut,
    _cut_header,
    _extreme_number,
    _other_value,
    _other_value,
    _other_entries,
    _other_tensor,
)

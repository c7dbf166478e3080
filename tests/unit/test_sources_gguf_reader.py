"""Headers of GGUF files, whole and damaged, and what reading a large one takes."""

import struct
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFValueType as Value

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources import open_checkpoint
from mlcweb.sources.gguf.reader import read_header
from tests.support.gguf_layout import Layout
from tests.support.llama_gguf import write_gguf


def test_every_truncation_is_a_checkpoint_error(tmp_path):
    data = write_gguf(tmp_path / "x.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    ends = [*range(0, 64), *range(64, 20000, 97), len(data) // 2, len(data) - 100000, len(data) - 1]
    for end in ends:
        path.write_bytes(data[:end])
        with pytest.raises(CheckpointError, match=r"cut\.gguf"):
            open_checkpoint(str(path))


def test_garbage_is_a_checkpoint_error(tmp_path):
    path = tmp_path / "x.gguf"
    rng = np.random.default_rng(0)
    for content in (
        b"",
        b"GGUF",
        bytes(1000),
        rng.bytes(5000),
        b"GGUF" + struct.pack("<I", 3) + rng.bytes(5000),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"x\.gguf"):
            open_checkpoint(str(path))


def test_an_array_longer_than_the_file_ends_at_once(tmp_path):
    key = b"general.architecture"
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key
    (tmp_path / "x.gguf").write_bytes(head + struct.pack("<IIQ", 9, 4, 1 << 60) + bytes(64))
    with pytest.raises(CheckpointError, match="ends inside the header"):
        open_checkpoint(str(tmp_path / "x.gguf"))


def with_values(*entries):
    """A file of these key-values, each the bytes of its type and value, and of no tensors."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries))
    return head + b"".join(struct.pack("<Q", len(key)) + key + value for key, value in entries) + bytes(64)


def string(text):
    return struct.pack("<IQ", 8, len(text)) + text


NESTED = struct.pack("<IQ", 9, 1) * 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 0) + bytes(99), "claims 1099511627776 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 63) + bytes(99), "claims 9223372036854775808 key-values"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0) + bytes(99), "version 1; 2 and 3"),
        (with_values((b"a", string(b"x")), (b"a", string(b"y"))), "'a' twice"),
        (with_values((b"a", string(b"\xff"))), "'a' is not UTF-8"),
        (with_values((b"\xff", string(b"a"))), "not a complete GGUF file"),
        (with_values((b"a", struct.pack("<IQ", 8, 1 << 62))), "ends inside the header"),
        (with_values((b"a", struct.pack("<IIQ", 9, 8, 1 << 62))), "an array claims"),
        (
            with_values((b"a", struct.pack("<IIQ", 9, 8, 6) + struct.pack("<Q", 1 << 62))),
            "ends inside the header",
        ),
        (with_values((b"a", struct.pack("<I", 9) + NESTED)), "arrays in arrays"),
        (with_values((b"a", struct.pack("<I", 13) + bytes(8))), "13 is not a valid GGUFValueType"),
        (with_values((b"general.alignment", struct.pack("<II", 4, 3))), "alignment is 3, not a power of two"),
        (with_values((b"general.alignment", string(b"x"))), "alignment is 'x'"),
    ],
)
def test_damaged_headers(tmp_path, content, message):
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"x\.gguf: .*{message}"):
        open_checkpoint(str(tmp_path / "x.gguf"))


@pytest.mark.parametrize(
    ("dims", "kind", "error", "message"),
    [
        ((), 0, CheckpointError, "has 0 dimensions"),
        ((1,) * 5, 0, CheckpointError, "has 5 dimensions"),
        ((4, 0), 0, CheckpointError, "is empty"),
        ((1 << 40, 1 << 40), 0, CheckpointError, "does not fit"),
        ((4,), 8, CheckpointError, "does not fit"),
        ((4,), 999, UnsupportedError, "type 999, which the gguf library does not know"),
        ((4,), int(Kind.I32), UnsupportedError, "I32, which gguf cannot dequantize"),
    ],
)
def test_damaged_tensors(tmp_path, dims, kind, error, message):
    info = struct.pack("<Q", 1) + b"t" + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
    content = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + info + struct.pack("<IQ", kind, 0) + bytes(256)
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(error, match=rf"x\.gguf: .*{message}"):
        open_checkpoint(str(tmp_path / "x.gguf"))


def test_arrays_in_arrays_are_lists_in_lists(tmp_path):
    pairs = struct.pack("<IQ2H", 2, 2, 1, 2) + struct.pack("<IQ1H", 2, 1, 3)
    texts = struct.pack("<IQ", 8, 1) + struct.pack("<Q", 2) + b"hi"
    content = with_values(
        (b"pairs", struct.pack("<IIQ", 9, 9, 2) + pairs), (b"texts", struct.pack("<IIQ", 9, 9, 1) + texts)
    )
    (tmp_path / "x.gguf").write_bytes(content)
    assert read_header(tmp_path / "x.gguf") == ({"pairs": [[1, 2], [3]], "texts": [["hi"]]}, [])


def test_the_header_is_what_the_library_reads(tmp_path):
    path = write_gguf(
        tmp_path / "x.gguf", kind=Kind.Q4_1, x__list=([1.5, -2.0], Value.ARRAY), x__no=(False, Value.BOOL)
    )
    reader = gguf.GGUFReader(path)
    metadata, tensors = read_header(path)
    expected = {
        name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")
    }
    assert metadata == expected
    assert {key: type(value) for key, value in metadata.items()} == {
        key: type(value) for key, value in expected.items()
    }
    assert [(t.name, t.shape, t.kind, t.offset) for t in tensors] == [
        (t.name, tuple(t.shape.tolist()[::-1]), t.tensor_type, t.data_offset) for t in reader.tensors
    ]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read as Linux tells it")
def test_a_large_vocabulary_opens_in_little_memory(tmp_path):
    """262,144 tokens, as Gemma's has, and more merges; the library's reader and json took 507 MB for Gemma's."""
    rng = np.random.default_rng(0)
    letters = "abcdefgh"
    texts = ["<unk>", "<s>", "</s>", *letters, *(a + b for a in letters for b in letters)]
    for count, length in ((2**15, 5), (2**19, 7)):
        drawn = rng.integers(ord("a"), ord("i"), count * length, np.uint8).tobytes().decode()
        texts += (drawn[at : at + length] for at in range(0, len(drawn), length))
    texts = list(dict.fromkeys(texts))[:262144]
    tokenizer = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.scores": rng.random(len(texts)).tolist(),
        "tokenizer.ggml.eos_token_id": 2,
    }
    path = write_gguf(tmp_path / "x.gguf")
    path.write_bytes(Layout.read(path.read_bytes()).with_tokenizer(tokenizer).write())
    result = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    merges, peak = map(int, result.stdout.split())
    assert merges > 300_000
    assert peak < 300 * 1024, f"{peak >> 10} MiB"


# by itself: a process's peak would be that of all tests before
MEASURE = """
import re, sys
from pathlib import Path
from mlcweb.sources.gguf.open import open_gguf
files = open_gguf(Path(sys.argv[1])).tokenizer_files
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(files["tokenizer.json"].count(b"\\n   ["), peak)
"""


def test_big_endian_files_are_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama", endianess=gguf.GGUFEndian.BIG)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UnsupportedError, match=r"x\.gguf: is a big-endian"):
        open_checkpoint(str(tmp_path / "x.gguf"))

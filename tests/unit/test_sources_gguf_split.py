"""A model in several GGUF files, which gguf's own writer splits."""

import shutil

import gguf
import numpy as np
import pytest

from mlcweb.errors import CheckpointError, SourceError
from mlcweb.sources import open_checkpoint, require
from tests.support.llama_gguf import MODEL, write_gguf
from tests.support.tiny import TinyLlama


@pytest.fixture
def parts(tmp_path):
    """A folder with nothing but a model's parts, and these in order."""
    folder = tmp_path / "parts"
    folder.mkdir()
    write_gguf(folder / "Tiny.gguf", per_part=8)
    found = sorted(folder.iterdir())
    assert [path.name for path in found] == [f"Tiny-{i:05}-of-00003.gguf" for i in (1, 2, 3)]
    return found


def test_a_folder_of_parts_and_each_part_are_the_whole_model(tmp_path, parts):
    whole = open_checkpoint(str(write_gguf(tmp_path / "Tiny.gguf")))
    for path in (parts[0].parent, *parts):
        checkpoint = open_checkpoint(str(path))
        require(checkpoint, MODEL.shapes())
        assert checkpoint.fingerprint == whole.fingerprint
        assert checkpoint.source == {"kind": "gguf", "name": "Tiny.gguf"}
        assert (checkpoint.config, checkpoint.tokenizer_files) == (whole.config, whole.tokenizer_files)
    for name, tensor in whole.tensors.items():
        np.testing.assert_array_equal(
            checkpoint.tensors[name].read(), tensor.read(), err_msg=name, strict=True
        )


def test_a_model_of_one_part_is_whole(tmp_path):
    count = {"split__count": (1, gguf.GGUFValueType.UINT16)}
    path = write_gguf(tmp_path / "whole.gguf", **count)
    assert open_checkpoint(str(path)).source["name"] == "whole.gguf"


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_part_is_named(parts, missing):
    parts[missing].unlink()
    for path in (parts[0].parent, *(part for part in parts if part.exists())):
        with pytest.raises(SourceError, match=rf"Tiny-0000{missing + 1}-of-00003\.gguf: no such file"):
            open_checkpoint(str(path))


def test_a_damaged_part_is_named(parts):
    parts[1].write_bytes(parts[1].read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"Tiny-00002-of-00003\.gguf: .*does not fit"):
        open_checkpoint(str(parts[2]))


def test_a_part_under_another_parts_name(parts):
    shutil.copy(parts[2], parts[1])
    with pytest.raises(CheckpointError, match=r"Tiny-00002-of-00003\.gguf: .*its split\.no is 2, not 1"):
        open_checkpoint(str(parts[0]))


def test_a_part_of_another_model(tmp_path, parts):
    untied = TinyLlama(dtype="float32", tied=False)
    write_gguf(tmp_path / "Other.gguf", untied, per_part=8)
    shutil.copy(tmp_path / "Other-00002-of-00003.gguf", parts[1])
    with pytest.raises(
        CheckpointError, match=r"Tiny-00002-of-00003\.gguf: .*split\.tensors\.count is 21, not 20"
    ):
        open_checkpoint(str(parts[0]))


def test_a_whole_model_under_a_parts_name(tmp_path, parts):
    write_gguf(parts[1])
    with pytest.raises(CheckpointError, match=r"Tiny-00002-of-00003\.gguf: .*split\.no is None, not 1"):
        open_checkpoint(str(parts[0]))


def test_a_tensor_that_two_parts_have(parts):
    name, other = b"blk.1.attn_q.weight", b"blk.0.attn_q.weight"
    holder = next(part for part in parts if name in part.read_bytes())
    assert holder != parts[0] and other in parts[0].read_bytes()
    holder.write_bytes(holder.read_bytes().replace(name, other))
    with pytest.raises(CheckpointError, match=rf"{holder.name}: has the tensor blk\.0\.attn_q\.weight,"):
        open_checkpoint(str(parts[0]))


def test_a_count_that_the_parts_do_not_have(parts):
    key = b"split.tensors.count"
    for part in parts:
        data = part.read_bytes()
        at = data.index(key) + len(key) + 4
        part.write_bytes(data[:at] + (21).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(CheckpointError, match="its 3 parts have 21 tensors; they have 20"):
        open_checkpoint(str(parts[0]))


def test_a_part_without_its_name(parts):
    renamed = parts[0].rename(parts[0].with_name("renamed.gguf"))
    with pytest.raises(CheckpointError, match=r"renamed\.gguf: is one of 3 parts") as caught:
        open_checkpoint(str(renamed))
    assert "renamed-00001-of-00003.gguf" in caught.value.hint


def test_a_folder_of_several_models_names_each_once(parts):
    folder = parts[0].parent
    write_gguf(folder / "Tiny.gguf")
    with pytest.raises(SourceError, match=r"2 GGUF files \(Tiny-\*-of-00003\.gguf, Tiny\.gguf\)"):
        open_checkpoint(str(folder))

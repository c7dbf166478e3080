"""A compile makes the same bytes of the same input, and is not repeated while its bundle is current."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlcweb.bundle import open_bundle
from mlcweb.compile import CompileRequest, CompileResult, compile_bundle
from mlcweb.progress import SilentProgress
from mlcweb.reference.tool_syntax import HERMES
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow  # it compiles whole bundles

SMALL = TinyLlama(layers=1)


def compiled(source: Path | str, out: Path, **options: object) -> CompileResult:
    options = {"quantization": "q4f32_1", "tiers": ("base",), **options}
    return compile_bundle(CompileRequest(str(source), out_dir=out, **options))  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_llama(tmp_path / "models" / "small", SMALL)


@pytest.mark.slow
def test_two_compiles_give_the_same_bytes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(model, tmp_path / "a", tiers=None)
    monkeypatch.chdir(tmp_path / "models")
    compiled("./small/", Path("../deep/b"), tiers=None)
    first, second = files(tmp_path / "a"), files(tmp_path / "deep" / "b")
    assert first == second
    assert b"/" + tmp_path.name.encode() not in b"".join(first.values()), "a path of this machine"


def test_the_bundle_is_complete(model: Path, tmp_path: Path) -> None:
    result = compiled(model, tmp_path / "out", tiers=None, context_length=100, prefill_chunk=48)
    bundle = open_bundle(result.path)
    bundle.verify(SilentProgress())
    facts = bundle.manifest.model
    assert (facts.family, facts.quantization, facts.licence) == ("llama", "q4f32_1", "")
    assert (facts.context_length, facts.prefill_chunk, facts.page_size) == (100, 48, 16)
    assert facts.parameters == sum(array.size for array in SMALL.weights().values())
    assert [tier.name for tier in bundle.manifest.tiers] == ["subgroups", "base", "software", "wasm"]
    assert all(tier.limits == {} for tier in bundle.manifest.tiers)
    memory = bundle.manifest.memory
    assert memory.kv_per_token == SMALL.layers * 2 * SMALL.kv_heads * SMALL.head_dim * 4
    assert memory.weights == sum(tensor.bytes for tensor in bundle.manifest.weights.tensors)
    assert result.name == "small-q4f32_1"
    assert result.bytes == sum(
        len(data) for name, data in files(result.path).items() if name != "mlcweb.json"
    )
    assert bundle.manifest.answers and bundle.manifest.answers.tool_calls == HERMES
    assert bundle.manifest.validation
    validation = json.loads((result.path / bundle.manifest.validation).read_text(encoding="utf-8"))
    assert len(validation["chats"]) >= 3
    assert validation["chats"][0]["tokens"] == validation["tokens"]
    stages = {"open", "lower", "calibrate", "quantize", "reference", "evaluate", "finish"}
    assert set(result.stages) == stages
    assert result.peak_memory_bytes > 10_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "stored", "item"), [(None, "float32", 4), ("float32", "float32", 4), ("float16", "float16", 2)]
)
def test_the_manifest_tells_the_kv_cache(
    asked: str | None, stored: str, item: int, model: Path, tmp_path: Path
) -> None:
    manifest = open_bundle(compiled(model, tmp_path / "out", kv_cache_dtype=asked).path).manifest
    assert [tier.kv_cache_dtype for tier in manifest.tiers] == [stored]
    assert manifest.memory.kv_per_token == SMALL.layers * 2 * SMALL.kv_heads * SMALL.head_dim * item


@pytest.mark.slow
def test_each_tier_has_its_own_kv_cache_unless_one_is_asked_for(model: Path, tmp_path: Path) -> None:
    options = {"quantization": "q4f16_1", "tiers": ("f16", "base")}
    for asked, expected in ((None, ["float16", "float32"]), ("float32", ["float32", "float32"])):
        result = compiled(model, tmp_path / "out", kv_cache_dtype=asked, **options)
        assert [tier.kv_cache_dtype for tier in open_bundle(result.path).manifest.tiers] == expected


def test_tvm_and_the_linker_say_nothing(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    compiled(model, tmp_path / "out")
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_current_bundle_is_reused(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not compiled(model, out).reused
    stamp = (out / "mlcweb.json").stat()
    again = compiled(model, out)
    assert again.reused
    assert again.bytes == sum(file.bytes for file in open_bundle(out).manifest.files.values())
    assert (out / "mlcweb.json").stat().st_ino == stamp.st_ino
    assert not compiled(model, out, force=True).reused


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"quantization": "q0f32"},
        {"tiers": ("subgroups",)},
        {"context_length": 64},
        {"prefill_chunk": 32},
        {"kv_cache_dtype": "float16"},
        {"name": "another"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_option_compiles_again(change: dict[str, object], model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compiled(model, out)
    assert not compiled(model, out, **change).reused
    assert compiled(model, out, **change).reused


@pytest.mark.slow
def test_a_changed_source_compiles_again(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compiled(model, out)
    before = files(out)
    make_llama(model, TinyLlama(layers=1, seed=5))
    assert not compiled(model, out).reused
    after = files(out)
    assert not {name for name in before if name.startswith("weights")} & set(after), "the old files are gone"
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(
        json.dumps({**config, "chat_template": "Q: {{ messages[0].content }}"})
    )
    assert not compiled(model, out).reused


@pytest.mark.slow
def test_a_bundle_that_lost_or_shortened_a_file_is_made_again(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compiled(model, out)
    whole = files(out)
    next(out.glob("model.*.wasm")).unlink()
    assert not compiled(model, out).reused
    weights = next(out.glob("weights-*.bin"))
    weights.write_bytes(weights.read_bytes()[:-16])
    assert not compiled(model, out).reused
    (out / "mlcweb.json").write_text("{")
    assert not compiled(model, out).reused
    assert files(out) == whole


def test_the_licence_of_the_model_card_is_recorded(model: Path, tmp_path: Path) -> None:
    (model / "README.md").write_text("---\nlicense: mit\n---\n")
    assert open_bundle(compiled(model, tmp_path / "out").path).manifest.model.licence == "mit"


def test_without_an_output_folder_it_is_dist(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = compile_bundle(
        CompileRequest(str(model), quantization="q0f32", tiers=("base",), context_length=64)
    )
    assert result.path == Path("dist/small-q0f32")
    assert open_bundle(result.path).manifest.name == "small-q0f32"


@pytest.mark.slow
def test_memory_follows_the_blocks_and_not_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the quantizer holds at a time is counted in rows: no tensor is ever read whole."""
    from mlcweb.sources import checkpoint

    model = make_llama(tmp_path / "wide", TinyLlama(layers=1, vocab=40_000, hidden=96, heads=6, kv_heads=2))
    longest = 0
    read = checkpoint.LazyTensor.read

    def watched(self: checkpoint.LazyTensor, rows: slice | None = None) -> object:
        nonlocal longest
        array = read(self, rows)
        longest = max(longest, array.size * 4)
        return array

    monkeypatch.setattr(checkpoint.LazyTensor, "read", watched)
    compiled(model, tmp_path / "out", evaluate=False)
    assert 40_000 * 96 * 4 > 15_000_000
    assert 4_000_000 < longest <= 4 << 20

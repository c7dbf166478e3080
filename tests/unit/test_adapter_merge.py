"""A merged checkpoint reads what the dense formula gives, for each key of adapter_config.json."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from bench.synthetic.tokenizer import write_tokenizer
from mlcweb.progress import SilentProgress
from mlcweb.sources import Checkpoint, Tie, merge_adapter, open_adapter, open_checkpoint
from tests.support.adapters import lora, make_adapter
from tests.support.llama_gguf import write_gguf
from tests.support.tiny import TinyLlama, make_llama

MODEL = TinyLlama(layers=1, tied=False)
WIDTH, VOCAB = MODEL.hidden, MODEL.vocab
EMBED, HEAD = "model.embed_tokens", "lm_head"
TIE = Tie(f"{EMBED}.weight", f"{HEAD}.weight")
Q = "model.layers.0.self_attn.q_proj"
DOWN = "model.layers.0.mlp.down_proj"


def merged(
    tmp_path: Path,
    tensors: dict[str, np.ndarray],
    model: TinyLlama = MODEL,
    *,
    tie: Tie | None = None,
    transposed: tuple[str, ...] = (),
    **config: Any,
) -> tuple[Checkpoint, Checkpoint]:
    """The base, and with the adapter in it."""
    base = open_checkpoint(str(make_llama(tmp_path / "base", model)))
    adapter = open_adapter(str(make_adapter(tmp_path / "sql", tensors, **config)), progress=SilentProgress())
    return base, merge_adapter(base, adapter, tie=tie, transposed=transposed)


def dense(base: np.ndarray, tensors: dict[str, np.ndarray], module: str, scaling: float) -> np.ndarray:
    """W + scaling * (B @ A) in float32, in W's type."""
    a, b = (tensors[f"{module}.lora_{factor}.weight"].astype(np.float64) for factor in "AB")
    return (base.astype(np.float32) + (b @ a * scaling).astype(np.float32)).astype(base.dtype)


def check(
    tmp_path: Path, tensors: dict[str, np.ndarray], module: str, scaling: float, **options: Any
) -> None:
    base, found = merged(tmp_path, tensors, **options)
    expected = dense(base.tensors[f"{module}.weight"].read(), tensors, module, scaling)
    got = found.tensors[f"{module}.weight"].read()
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    assert np.mean(got != base.tensors[f"{module}.weight"].read()) > 0.9


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_a_weight_stays_in_its_type(dtype: str, tmp_path: Path) -> None:
    check(tmp_path, lora(Q, 64, WIDTH), Q, 2.0, model=TinyLlama(layers=1, dtype=dtype))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_the_adapters_own_type(dtype: Any, tmp_path: Path) -> None:
    check(tmp_path, lora(Q, 64, WIDTH, dtype=dtype), Q, 2.0)


@pytest.mark.parametrize(
    ("config", "scaling"),
    [
        ({"lora_alpha": 6}, 1.5),
        ({"lora_alpha": 0.5}, 0.125),
        ({"use_rslora": True}, 4.0),
        ({"r": 16, "rank_pattern": {"q_proj": 4}}, 2.0),
        ({"r": 16, "rank_pattern": {r"layers\.0\.self_attn\.[qk]_proj": 4}, "use_rslora": True}, 4.0),
        ({"alpha_pattern": {"v_proj": 100, "self_attn.q_proj": 1}}, 0.25),
        ({"alpha_pattern": {"proj": 100, "^model.layers.0.self_attn.q_proj": 3}}, 0.75),
        ({"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}, 2.0),
        ({"target_modules": ["k_proj", "q_proj"]}, 2.0),
        ({"target_modules": r".*\.self_attn\.(q|k)_proj"}, 2.0),
        ({"peft_type": "lora"}, 2.0),
    ],
    ids=str,
)
def test_scaling(config: dict[str, Any], scaling: float, tmp_path: Path) -> None:
    check(tmp_path, lora(Q, 64, WIDTH), Q, scaling, **config)


def test_any_rows_from_any_threads_are_those_of_the_whole(tmp_path: Path) -> None:
    model = TinyLlama(layers=1, hidden=200, heads=4, head_dim=48, intermediate=1000)
    module = "model.layers.0.mlp.gate_proj"
    tensors = lora(module, 1000, 200, r=9)
    base, actual = merged(tmp_path, tensors, model, r=9, lora_alpha=9)
    tensor = actual.tensors[f"{module}.weight"]
    whole = tensor.read()
    np.testing.assert_array_equal(whole, dense(base.tensors[f"{module}.weight"].read(), tensors, module, 1.0))
    cuts = [(start, start + size) for size in (1, 7, 64, 333) for start in range(0, 1000, size)]
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda cut: tensor.read(slice(*cut)), cuts))
    for (start, stop), part in zip(cuts, parts, strict=True):
        np.testing.assert_array_equal(part, whole[start:stop])


def test_a_transposed_weight(tmp_path: Path) -> None:
    """As GPT-2's: here down_proj [64, 96] stands for one that is stored [in, out]."""
    tensors = lora(DOWN, MODEL.intermediate, WIDTH)
    base, actual = merged(tmp_path, tensors, transposed=(f"{DOWN}.weight",))
    expected = dense(base.tensors[f"{DOWN}.weight"].read().T, tensors, DOWN, 2.0).T
    np.testing.assert_array_equal(actual.tensors[f"{DOWN}.weight"].read(), expected)
    np.testing.assert_array_equal(actual.tensors[f"{DOWN}.weight"].read(slice(5, 9)), expected[5:9])


@pytest.mark.parametrize("name", ["", ".default"])
def test_an_embedding(name: str, tmp_path: Path) -> None:
    factors = lora(EMBED, VOCAB, WIDTH)
    a, b = (factors[f"{EMBED}.lora_{factor}.weight"] for factor in "AB")
    stored = {
        f"{EMBED}.lora_embedding_A{name}": np.ascontiguousarray(b.T),
        f"{EMBED}.lora_embedding_B{name}": np.ascontiguousarray(a.T),
    }
    base, actual = merged(tmp_path, stored)
    expected = dense(base.tensors[f"{EMBED}.weight"].read(), factors, EMBED, 2.0)
    np.testing.assert_array_equal(actual.tensors[f"{EMBED}.weight"].read(), expected)


def test_names_with_the_adapters_own(tmp_path: Path) -> None:
    plain = lora(Q, 64, WIDTH)
    base, actual = merged(tmp_path, lora(Q, 64, WIDTH, name="default"))
    expected = dense(base.tensors[f"{Q}.weight"].read(), plain, Q, 2.0)
    np.testing.assert_array_equal(actual.tensors[f"{Q}.weight"].read(), expected)


@pytest.mark.parametrize("middle", ["", ".modules_to_save", ".modules_to_save.default", ".base_layer"])
def test_what_is_saved_whole_replaces_the_bases(middle: str, tmp_path: Path) -> None:
    head = np.random.default_rng(3).standard_normal((VOCAB, WIDTH), np.float32)
    norm = np.full(WIDTH, 3, np.float32)
    tensors = {f"{HEAD}{middle}.weight": head, f"model.norm{middle}.weight": norm}
    _, actual = merged(tmp_path, tensors, modules_to_save=["lm_head", "norm"])
    np.testing.assert_array_equal(actual.tensors[f"{HEAD}.weight"].read(), head)
    np.testing.assert_array_equal(actual.tensors["model.norm.weight"].read(), norm)


def test_what_is_trained_on_top_of_a_saved_base(tmp_path: Path) -> None:
    saved = np.random.default_rng(3).standard_normal((64, WIDTH), np.float32)
    tensors = lora(Q, 64, WIDTH)
    _, actual = merged(tmp_path, {**tensors, f"{Q}.base_layer.weight": saved})
    np.testing.assert_array_equal(actual.tensors[f"{Q}.weight"].read(), dense(saved, tensors, Q, 2.0))


def test_untouched_tensors_are_the_bases(tmp_path: Path) -> None:
    base, actual = merged(tmp_path, lora(Q, 64, WIDTH))
    assert [name for name in actual.tensors if actual.tensors[name] is not base.tensors[name]] == [
        f"{Q}.weight"
    ]
    assert actual.config == base.config and actual.eos_token_ids == base.eos_token_ids


def test_source_fingerprint_and_licence(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "README.md").write_text("---\nlicense: mit\n---\n")
    base, actual = merged(tmp_path, lora(Q, 64, WIDTH))
    assert actual.source == {"kind": "directory", "name": "base", "adapter": "sql"}
    assert actual.licence == "mit"
    _, again = merged(tmp_path, lora(Q, 64, WIDTH))
    _, other = merged(tmp_path, lora(Q, 64, WIDTH, seed=2))
    _, stronger = merged(tmp_path, lora(Q, 64, WIDTH), lora_alpha=9)
    assert again.fingerprint == actual.fingerprint
    assert len({base.fingerprint, actual.fingerprint, other.fingerprint, stronger.fingerprint}) == 4


TIED = TinyLlama(layers=1)


def test_a_tied_embedding_that_was_trained_alone_leaves_the_head_as_it_was(tmp_path: Path) -> None:
    factors = lora(EMBED, VOCAB, WIDTH)
    stored = {
        f"{EMBED}.lora_embedding_A": np.ascontiguousarray(factors[f"{EMBED}.lora_B.weight"].T),
        f"{EMBED}.lora_embedding_B": np.ascontiguousarray(factors[f"{EMBED}.lora_A.weight"].T),
    }
    base, actual = merged(tmp_path, stored, TIED, tie=TIE)
    before = base.tensors[f"{EMBED}.weight"].read()
    np.testing.assert_array_equal(
        actual.tensors[f"{EMBED}.weight"].read(), dense(before, factors, EMBED, 2.0)
    )
    np.testing.assert_array_equal(actual.tensors[f"{HEAD}.weight"].read(), before)
    assert actual.config["tie_word_embeddings"] is False and base.config["tie_word_embeddings"] is True


def test_a_tied_head_that_was_saved_whole(tmp_path: Path) -> None:
    head = np.random.default_rng(3).standard_normal((VOCAB, WIDTH), np.float32)
    base, actual = merged(tmp_path, {f"{HEAD}.weight": head}, TIED, tie=TIE, modules_to_save=["lm_head"])
    np.testing.assert_array_equal(actual.tensors[f"{HEAD}.weight"].read(), head)
    assert actual.tensors[f"{EMBED}.weight"] is base.tensors[f"{EMBED}.weight"]
    assert actual.config["tie_word_embeddings"] is False


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (HEAD, {"modules_to_save": ["lm_head"], "ensure_weight_tying": True}),
        (EMBED, {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}),
        (EMBED, {}),  # saved because the vocabulary was said to have grown
    ],
)
def test_what_stays_tied(module: str, config: dict[str, Any], tmp_path: Path) -> None:
    saved = np.random.default_rng(3).standard_normal((VOCAB, WIDTH), np.float32)
    _, actual = merged(tmp_path, {f"{module}.weight": saved}, TIED, tie=TIE, **config)
    np.testing.assert_array_equal(actual.tensors[f"{EMBED}.weight"].read(), saved)
    assert f"{HEAD}.weight" not in actual.tensors
    assert actual.config["tie_word_embeddings"] is True


def test_a_tokenizer_beside_the_adapter_is_taken(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    write_tokenizer(tmp_path / "sql")
    (tmp_path / "sql" / "chat_template.jinja").write_text("{{ messages[0].content }}<|endoftext|>")
    config = tmp_path / "sql" / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"eos_token": "<|im_end|>"', '"eos_token": "<|endoftext|>"'))
    base, actual = merged(tmp_path, lora(Q, 64, WIDTH))
    assert b"<|endoftext|>" in actual.tokenizer_files["tokenizer_config.json"]
    assert actual.tokenizer_files["generation_config.json"] == base.tokenizer_files["generation_config.json"]
    assert actual.eos_token_ids == (0, 2) and base.eos_token_ids == (2,)


def test_a_tokenizer_without_its_config_leaves_the_bases_template(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    write_tokenizer(tmp_path / "sql")
    (tmp_path / "sql" / "tokenizer_config.json").unlink()
    base, actual = merged(tmp_path, lora(Q, 64, WIDTH))
    assert actual.tokenizer_files == base.tokenizer_files


def test_a_gguf_base(tmp_path: Path) -> None:
    """Its q rows are in another order in the file; the adapter's are as Hugging Face has them."""
    model = TinyLlama(dtype="float32")
    base = open_checkpoint(str(write_gguf(tmp_path / "tiny.gguf", model)))
    tensors = lora(Q, 64, WIDTH)
    adapter = open_adapter(str(make_adapter(tmp_path / "sql", tensors)), progress=SilentProgress())
    actual = merge_adapter(base, adapter, tie=TIE, transposed=())
    expected = dense(model.weights()[f"{Q}.weight"], tensors, Q, 2.0)
    np.testing.assert_array_equal(actual.tensors[f"{Q}.weight"].read(), expected)
    np.testing.assert_array_equal(actual.tensors[f"{Q}.weight"].read(slice(3, 21)), expected[3:21])

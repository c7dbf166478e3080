"""What a tier's manifest entry says that it takes: GPU memory as inspect tells it, and what a decoded token reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcweb.bundle import Bundle, open_bundle
from mlcweb.bundle.cost import tier_cost
from mlcweb.bundle.inspect import gpu_memory
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.contract.manifest import TierCost
from tests.fixtures.models.cases import CASES
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow  # it compiles whole bundles

MIXTRAL = next(case for case in CASES if case.name == "mixtral")


def compiled(source: Path, out: Path) -> Bundle:
    request = CompileRequest(str(source), "q4f32_1", out, tiers=("base", "software"), evaluate=False)
    return open_bundle(compile_bundle(request).path)


def cost_of(bundle: Bundle, tier: str) -> TierCost:
    cost = bundle.tier(tier).cost
    assert cost is not None
    return cost


@pytest.mark.parametrize("context", [16, 100, 200])
def test_memory_is_what_inspect_says(tmp_path: Path, context: int) -> None:
    bundle = compiled(make_llama(tmp_path / "small", TinyLlama(layers=2)), tmp_path / "out")
    page = bundle.manifest.model.page_size
    for tier in bundle.manifest.tiers:
        cost, told = cost_of(bundle, tier.name), gpu_memory(bundle.plan(tier.name), context, page)
        pages = -(-context // page)
        assert (cost.weights, cost.kv_page * pages) == (told["weight"], told["kv"])
        assert cost.weights + cost.kv_page * pages + cost.other == told["total"]
        assert cost.kv_largest_page * 2 == cost.kv_page


@pytest.mark.parametrize("model", ["tied", "mixtral"])
def test_a_token_reads_a_row_of_the_embedding_and_the_experts_that_it_chooses(
    tmp_path: Path, model: str
) -> None:
    source = (
        make_checkpoint(tmp_path / "model", MIXTRAL)
        if model == "mixtral"
        else make_llama(tmp_path / "model", TinyLlama(layers=2))
    )
    bundle = compiled(source, tmp_path / "out")
    sizes = {tensor.name: tensor.bytes for tensor in bundle.manifest.weights.tensors}
    embedding = sum(size for name, size in sizes.items() if name.startswith("model.embed_tokens."))
    read = sum(size for name, size in sizes.items() if not name.startswith("rope."))
    if model == "mixtral":  # two of eight experts
        experts = [
            size for name, size in sizes.items() if "mlp.gate_up_proj" in name or "mlp.down_proj" in name
        ]
        assert len(experts) == 8
        read -= embedding + sum(experts) * 6 / 8
    # where they are tied, the head reads the embedding, beside the row
    expected = read + embedding / bundle.manifest.model.vocab_size
    for tier in bundle.manifest.tiers:
        cost = cost_of(bundle, tier.name)
        norms = sum(
            size for name, size in sizes.items() if name.endswith(".blocks")
        )  # which two launches may read
        assert expected - 8 <= cost.token_weights <= expected + norms + 8
        plan = bundle.plan(tier.name)
        launches = [launch for name in ("decode", "sample") for launch in plan["entries"][name]["launches"]]
        assert cost.token_launches == len(launches)


def test_a_plan_of_whole_texts_decodes_nothing() -> None:
    plan = {
        "tier": "base",
        "buffers": [{"name": "a", "kind": "weight", "bytes": 64}],
        "kernels": [{"name": "k", "bindings": [], "uniform_words": 1}],
        "entries": {
            "embed": {
                "dims": ["n"],
                "launch": "l",
                "record_words": 4,
                "launches": [{"kernel": 0, "op": "x", "args": [0]}],
            }
        },
    }
    cost = tier_cost(plan, {}, 10)  # type: ignore[arg-type]
    assert cost == TierCost(
        weights=64, kv_page=0, kv_largest_page=0, other=256, token_weights=0, token_launches=0
    )

"""A plan's JSON: buffers, bindings and launches agree with each other and with the kernels they are made of."""

from __future__ import annotations

import re

import pytest

from mlcweb.bundle.plan_check import check_plan
from mlcweb.errors import CompileError
from mlcweb.kernels.choice.choose import has_matrix
from mlcweb.kernels.choice.tier import BASE, F16_SUBGROUPS, GPU_TIERS, SUBGROUPS, Tier
from mlcweb.kernels.layouts.kv_cache import PAGE_SIZE
from mlcweb.kernels.products.matmul_matrix import NEEDS
from mlcweb.plan import build_plan
from mlcweb.quantize import get_scheme, packed_tensors
from tests.fixtures.models.plans import plan_of
from tests.support.llama_cases import decoder
from tests.support.lowered import SHAPES, VARIANTS, lowered

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("shape", ["tiny", "tiny-untied"])
VARIANT = pytest.mark.parametrize(
    ("scheme", "tier"), VARIANTS, ids=lambda v: v.name if isinstance(v, Tier) else v
)


@BOTH
@VARIANT
def test_it_is_what_the_format_says(shape: str, scheme: str, tier: Tier) -> None:
    _, plan = lowered(shape, scheme, tier)
    json = plan.to_json()
    in_groups_of_32 = any(form.group == 32 for form in get_scheme(scheme).formats)
    check_plan(json, tier.name, "plan.json")
    assert {name: entry["dims"] for name, entry in json["entries"].items()} == {
        "prefill": ["n"],
        **({"prefill_int8": ["n"]} if in_groups_of_32 and not tier.software else {}),
        **({} if tier.software else {"prefill_few": ["n"]}),
        "decode": [],
        "penalize": [],
        "mask": [],
        "sample": [],
        "count": [],
    }
    assert re.findall(r"^//// kernel (\w+)$", plan.wgsl(), re.MULTILINE) == [
        k["name"] for k in json["kernels"]
    ]
    for kernel in plan.kernels:
        assert f"fn {kernel.name}(" in kernel.wgsl


@BOTH
@VARIANT
def test_bindings_are_what_the_wgsl_declares(shape: str, scheme: str, tier: Tier) -> None:
    _, plan = lowered(shape, scheme, tier)
    for kernel, facts in zip(plan.kernels, plan.to_json()["kernels"], strict=True):
        actual = re.findall(
            r"@group\(0\) @binding\((\d+)\)\s*var<(storage, read|storage, read_write|uniform)>", kernel.wgsl
        )
        assert [int(binding) for binding, _ in actual] == list(range(len(actual)))
        kinds = {"storage, read": "read-only-storage", "storage, read_write": "storage", "uniform": "uniform"}
        assert [kinds[kind] for _, kind in actual] == facts["bindings"]
        struct = re.search(r"struct \w+ \{([^}]*)\}", kernel.wgsl)
        assert struct and struct[1].count(":") == facts["uniform_words"], kernel.name


@BOTH
@VARIANT
def test_record_words_hold_the_widest_uniform(shape: str, scheme: str, tier: Tier) -> None:
    json = lowered(shape, scheme, tier)[1].to_json()
    for entry in json["entries"].values():
        widest = max(json["kernels"][launch["kernel"]]["uniform_words"] for launch in entry["launches"])
        assert entry["record_words"] == 3 + widest


@BOTH
@VARIANT
def test_buffers(shape: str, scheme: str, tier: Tier) -> None:
    tiny = SHAPES[shape]
    _, plan = lowered(shape, scheme, tier)
    model = decoder(tiny)
    weights = {t.name: t.nbytes for p in model.params() for t in packed_tensors(p, get_scheme(scheme))}
    weights |= {name: table.nbytes for name, table in model.constants().items()}
    assert {b.name: b.bytes for b in plan.buffers if b.kind == "weight"} == weights
    kv = [b for b in plan.buffers if b.kind == "kv"]
    item = 2 if tier.f16 else 4
    assert [b.name for b in kv] == [f"kv.{i}" for i in range(tiny.layers)]
    for buffer in kv:
        assert buffer.pages == 512 // PAGE_SIZE
        assert buffer.to_json()["page_bytes"] == 2 * tiny.kv_heads * tiny.head_dim * PAGE_SIZE * item
    others = {b.name: (b.kind, b.bytes) for b in plan.buffers if b.kind in ("input", "output")}
    assert others == {
        "tokens": ("input", 4 * 512),
        "state": ("input", 32),
        "page_table": ("input", 4 * 512 // PAGE_SIZE),
        "sampling": ("input", 32),
        "mask": ("input", 4 * -(-tiny.vocab // 32)),
        "counts": ("input", 4 * tiny.vocab),
        "logits": ("output", 4 * tiny.vocab),
    }


@pytest.mark.parametrize("tier", GPU_TIERS, ids=lambda tier: tier.name)
@pytest.mark.parametrize(("dtype", "item"), [("float16", 2), ("float32", 4)])
def test_a_kv_cache_of_either_type_on_any_tier(dtype: str, item: int, tier: Tier) -> None:
    """float16 takes half, also where no shader can name it; and nothing else changes."""
    tiny = SHAPES["tiny"]
    _, plan = lowered("tiny", "q4f16_1", tier, dtype)
    kv = [b for b in plan.buffers if b.kind == "kv"]
    assert len(kv) == tiny.layers
    for buffer in kv:
        assert buffer.to_json()["page_bytes"] == 2 * tiny.kv_heads * tiny.head_dim * PAGE_SIZE * item
    _, usual = lowered("tiny", "q4f16_1", tier)
    assert [b for b in usual.buffers if b.kind != "kv"] == [b for b in plan.buffers if b.kind != "kv"]
    assert (plan.wgsl() == usual.wgsl()) == (dtype == tier.kv_dtype)


MATRIX = [("q4f16_1", F16_SUBGROUPS), ("q4f32_1", SUBGROUPS)]


@pytest.mark.parametrize(("scheme", "tier"), MATRIX, ids=["f16-subgroups", "subgroups"])
def test_a_prefill_on_matrices_says_what_it_needs_and_changes_nothing_else(scheme: str, tier: Tier) -> None:
    _, plan = lowered("tiny", scheme, tier, matrix=True)
    json, usual = plan.to_json(), lowered("tiny", scheme, tier)[1].to_json()
    check_plan(json, tier.name, "plan.json")
    entry = json["entries"].pop("prefill_matrix")
    assert {*entry["needs"].pop("features"), *tier.features} == set(NEEDS["features"])
    assert entry["needs"] == {key: value for key, value in NEEDS.items() if key != "features"}
    own = {launch["kernel"] for launch in entry["launches"]}
    own -= {launch["kernel"] for other in json["entries"].values() for launch in other["launches"]}
    names = {json["kernels"][kernel]["name"] for kernel in own}
    assert names == {
        *(
            f"prefill_matrix_{name}"
            for name in ("norm", "qkv", "halve_o", "o", "gate_up", "halve_down", "down")
        )
    }
    for kernel in plan.kernels:
        enables = "enable chromium_experimental_subgroup_matrix;" in kernel.wgsl
        assert enables == (kernel.name in names and "norm" not in kernel.name and "halve" not in kernel.name)
    assert json["entries"].keys() == usual["entries"].keys()
    wgsl = {kernel.name: kernel.wgsl for kernel in plan.kernels if kernel.name not in names}
    assert wgsl == {kernel.name: kernel.wgsl for kernel in lowered("tiny", scheme, tier)[1].kernels}


@pytest.mark.parametrize(("scheme", "tier"), VARIANTS, ids=str)
def test_a_prefill_on_matrices_is_where_its_kernels_are(scheme: str, tier: Tier) -> None:
    """One tier a scheme: whoever has what it needs takes that one."""
    expected = (scheme, tier) in [*MATRIX, ("q4f16_2", F16_SUBGROUPS), ("q8f32_1", SUBGROUPS)]
    assert has_matrix(get_scheme(scheme), tier) == expected


def test_every_tier_binds_the_same_weights() -> None:
    """They are in the bundle once; a tier reads a float16 tensor as such or as packed uint32, of the same bytes."""
    actual = [
        {b.name: b.bytes for b in lowered("tiny", "q4f16_1", tier)[1].buffers if b.kind == "weight"}
        for tier in GPU_TIERS
    ]
    assert all(weights == actual[0] for weights in actual)


def test_layers_share_kernels() -> None:
    """A pipeline is what a cold start waits for: their number must not grow with the layers."""
    _, plan = lowered("tiny", "q4f32_1", SUBGROUPS)
    assert len({kernel.name for kernel in plan.kernels}) == len(plan.kernels)
    by_entry = {entry.name: {launch.kernel for launch in entry.launches} for entry in plan.entries}
    for prefill in ("prefill", "prefill_int8"):  # a load makes one prefill's
        assert len(by_entry[prefill] | by_entry["decode"] | by_entry["sample"]) <= 21
    (decode,) = (entry for entry in plan.entries if entry.name == "decode")
    assert len(decode.launches) > len({launch.kernel for launch in decode.launches})


def test_decode_and_prefill_share_weights_and_cache() -> None:
    _, plan = lowered("tiny", "q4f32_1", BASE)
    prefill, *_, decode, _, _, sample, _ = plan.entries

    def bound(entry: object, kind: str) -> set[int]:
        return {a for launch in entry.launches for a in launch.args if plan.buffers[a].kind == kind}  # type: ignore[attr-defined]

    assert bound(decode, "weight") == bound(prefill, "weight") and bound(decode, "kv") == bound(prefill, "kv")
    assert bound(sample, "weight") == bound(sample, "kv") == set()
    assert bound(decode, "output") == bound(prefill, "output") == bound(sample, "output")
    assert bound(prefill, "scratch") & bound(decode, "scratch"), (
        "entries never run at once, so they share scratch"
    )


def test_a_tensor_that_was_left_unplanned_is_refused() -> None:
    """Such as after a pass that TVM renames: a plan must not lose a buffer silently."""
    from dataclasses import replace

    import tvm
    from tvm import relax

    entries, _ = lowered("tiny", "q4f32_1", BASE)

    @relax.expr_functor.mutator
    class Unplan(relax.expr_functor.PyExprMutator):
        def visit_call_(self, call: relax.Call) -> relax.Expr:
            call = super().visit_call_(call)
            if getattr(call.op, "name", "") != "relax.memory.alloc_tensor":
                return call
            return relax.op.builtin.alloc_tensor(call.args[2], call.args[3].value, 0, "global")

    changed = tvm.IRModule(entries.module.functions)
    changed["decode"] = Unplan(changed).visit_expr(changed["decode"])
    with pytest.raises(CompileError, match="left unplanned"):
        build_plan(replace(entries, module=changed), BASE)


def test_a_kernel_says_which_window_it_reads() -> None:
    json = plan_of("gemma-2", "q4f32_1", BASE).to_json()
    check_plan(json, "base", "plan.json")
    read = {k["name"]: k["reads"] for k in json["kernels"] if "reads" in k}
    assert read == {"prefill_attend": {"window": 20}, "decode_attend": {"window": 20}}
    assert len([k for k in json["kernels"] if "attend" in k["name"]]) == 4  # those of layers that see all

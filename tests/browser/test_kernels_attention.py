"""RoPE, the paged KV cache and both attentions against numpy in float64, for every tier, head size and element."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.attention.rope_append import append, rope_append, rope_queries
from mlcweb.kernels.attention.rotate import rotate_heads
from mlcweb.kernels.attention.scoring import Growth, Scoring
from mlcweb.kernels.choice.choose import (
    appends_before,
    attend,
    flash_attention,
    merge,
    splits,
    uses_block_order,
)
from mlcweb.kernels.choice.tier import SOFTWARE, SUBGROUPS
from mlcweb.quantize.block_order import to_block_order
from tests.support.browser.attention_case import CONTEXT, DEFAULT, Case, Variant, rotate
from tests.support.browser.kernel_page import run_kernel

ASKED_FOR = [
    Variant(SUBGROUPS, "float16"),
    Variant(SOFTWARE, "float16"),
    Variant(SUBGROUPS, "float16", f16_browser=True),
    Variant(SOFTWARE, "float16", f16_browser=True),
]


def asked_for(cases: list[tuple[int, ...]]) -> Any:
    """Every case on the stock browser; on the other, whose compiler takes long, the first two."""
    pairs = [(v, case) for v in ASKED_FOR for case in (cases[:2] if v.f16_browser else cases)]
    ids = ["-".join([*map(str, case), str(v)]) for v, case in pairs]
    return pytest.mark.parametrize(("variant", "case"), pairs, ids=ids)


@pytest.fixture
def page(request: pytest.FixtureRequest, variant: Variant) -> Any:
    return request.getfixturevalue("f16_gpu_page" if variant.f16_browser else "gpu_page")


SHAPES = [(9, 3, 64), (8, 8, 80), (4, 1, 128), (4, 2, 96), (2, 1, 256)]
LARGE = (8, 1, 512)  # a workgroup has a part of the heads


@pytest.mark.parametrize("variant", DEFAULT, ids=str)
@pytest.mark.parametrize(("heads", "kv_heads", "d"), SHAPES)
@pytest.mark.parametrize(("start", "n"), [(0, 1), (0, 31), (33, 40), (100, 90)])
def test_prefill(page: Any, variant: Variant, heads: int, kv_heads: int, d: int, start: int, n: int) -> None:
    check_prefill(page, Case(heads, kv_heads, d, start, n, variant), variant, n)


@pytest.mark.parametrize("variant", DEFAULT[1:], ids=str)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "d", "start", "n", "window", "pictures"),
    [
        (8, 4, 256, 0, 70, None, ((3, 67),)),
        (4, 1, 64, 33, 90, 20, ((0, 40), (41, 44), (60, 90))),  # a window that is shorter than a picture
        (9, 3, 64, 100, 31, 48, ((30, 31),)),
        (2, 1, 96, 5, 150, 100, ((20, 140),)),
    ],
)
def test_prefill_of_pictures_whose_tokens_see_one_another(
    page: Any,
    variant: Variant,
    heads: int,
    kv_heads: int,
    d: int,
    start: int,
    n: int,
    window: int | None,
    pictures: tuple[tuple[int, int], ...],
) -> None:
    scoring = Scoring(d**-0.5, window=window)
    for sinks in (False, True) if n == 90 else (False,):
        case = Case(heads, kv_heads, d, start, n, variant, scoring, sinks=sinks, pictures=pictures)
        check_prefill(page, case, variant, n)


@asked_for(
    [
        (9, 3, 64, 31, 33),
        (8, 8, 80, 0, 31),
        (3, 1, 64, 0, 1000),
        (4, 1, 96, 33, 1),
        (8, 2, 128, 1, 33),
        (3, 1, 256, 100, 31),
    ]
)
def test_prefill_with_another_element(page: Any, variant: Variant, case: tuple[int, ...]) -> None:
    check_prefill(page, Case(*case, variant), variant, case[-1])


def check_prefill(page: Any, case: Case, variant: Variant, n: int) -> None:
    layout, tier = case.layout, variant.tier
    out = np.zeros((n, layout.heads * layout.head_dim), np.float32)
    if layout.appends:
        args = [*case.inputs(), out]
        *_, kv, queries = run_kernel(page, rope_append(layout, CONTEXT, case.scoring), tier, args, n=n)
        np.testing.assert_allclose(kv.view(case.dtype), case.after, atol=variant.tolerance)
    else:
        args, kv = [case.qkv, case.coarse, case.fine, case.state, out], case.before
        *_, queries = run_kernel(page, rope_queries(layout, CONTEXT, case.scoring), tier, args, n=n)
    sinks, stored = case.stored_sinks(tier)
    ends = [] if case.ends is None else [case.ends]
    args = [queries, case.state, case.table, kv, *ends, *stored, out]
    kernel = flash_attention(layout, case.scoring, tier, sinks, to_ends=bool(ends))
    *_, actual = run_kernel(page, kernel, tier, args, n=n)
    assert np.abs(actual - case.expected).max() < (5e-3 if case.dtype == "float16" else 2e-5)


@pytest.mark.parametrize("variant", DEFAULT, ids=str)
@pytest.mark.parametrize(("heads", "kv_heads", "d"), SHAPES)
@pytest.mark.parametrize("start", [0, 31, 200])
def test_decode(page: Any, variant: Variant, heads: int, kv_heads: int, d: int, start: int) -> None:
    check_decode(page, Case(heads, kv_heads, d, start, 1, variant), variant)


@pytest.mark.parametrize("variant", DEFAULT, ids=str)
def test_decode_of_a_long_context_takes_several_blocks_a_split(page: Any, variant: Variant) -> None:
    check_decode(page, Case(4, 2, 64, 1023 - 37, 1, variant), variant)


@asked_for([(9, 3, 64, 1000), (8, 8, 80, 0), (4, 1, 96, 33), (8, 2, 128, 31), (3, 1, 256, 200)])
def test_decode_with_another_element(page: Any, variant: Variant, case: tuple[int, ...]) -> None:
    check_decode(page, Case(*case, 1, variant), variant)


def check_decode(page: Any, case: Case, variant: Variant) -> None:
    layout, tier, inputs = case.layout, variant.tier, case.inputs()
    if appends_before(layout, tier):
        *_, inputs[-1] = run_kernel(page, append(layout, CONTEXT), tier, inputs)
    partial = np.zeros((layout.heads, splits(tier), layout.head_dim + 2), np.float32)
    func = attend(layout, CONTEXT, case.scoring, tier)
    *_, kv, partial = run_kernel(page, func, tier, [*inputs, partial])
    np.testing.assert_allclose(kv.view(case.dtype), case.after, atol=variant.tolerance)
    out = np.zeros((1, layout.heads * layout.head_dim), np.float32)
    sinks, stored = case.stored_sinks(tier)
    *_, actual = run_kernel(page, merge(layout, tier, sinks), tier, [partial, *stored, out])
    expected = to_block_order(case.expected) if uses_block_order(tier) else case.expected
    assert np.abs(actual - expected).max() < (5e-3 if case.dtype == "float16" else 2e-5)


@pytest.mark.parametrize("variant", [*DEFAULT, ASKED_FOR[1]], ids=str)
def test_a_layer_that_reads_anothers_cache(page: Any, variant: Variant) -> None:
    check_prefill(page, Case(6, 2, 64, 33, 40, variant, appends=False), variant, 40)
    windowed = Case(6, 2, 64, 200, 1, variant, Scoring(0.2, window=48), appends=False)
    check_decode(page, windowed, variant)


@pytest.mark.parametrize("variant", [*DEFAULT[1:], ASKED_FOR[0]], ids=str)
def test_heads_of_which_a_workgroup_has_a_part(page: Any, variant: Variant) -> None:
    for appends in (True, False) if variant == DEFAULT[1] else (True,):
        check_decode(page, Case(*LARGE, 70, 1, variant, appends=appends), variant)
    check_prefill(page, Case(*LARGE, 33, 20, variant), variant, 20)


WINDOWS = [Scoring(0.2, window=window) for window in (1, 15, 16, 17, 100)]
CAP = Scoring(1.0, cap=0.5)  # tanh of up to 100, whose exponentials no float32 holds
BOTH = Scoring(0.2, cap=3.0, window=33)
GROWING = Scoring(0.2, growth=Growth(0.3, 48))
# Most with float32, where a wrong token shows; where only elements differ, one.
SCORED = [(DEFAULT[1], scoring) for scoring in (*WINDOWS, CAP, BOTH, GROWING)]
SCORED += [(DEFAULT[2], scoring) for scoring in (*WINDOWS[::2], CAP, BOTH, GROWING)]
SCORED += [(variant, BOTH) for variant in (DEFAULT[0], *ASKED_FOR[:2])]
scored = pytest.mark.parametrize(
    ("variant", "scoring"),
    SCORED,
    ids=[f"{v}-cap{s.cap}-window{s.window}{'-growing' if s.growth else ''}" for v, s in SCORED],
)


@scored
def test_prefill_of_other_scores(page: Any, variant: Variant, scoring: Scoring) -> None:
    # within the window and past it; chunks of several tiles and blocks, that begin within a page
    for start, n in [(21, 130), (950, 41)]:
        check_prefill(page, Case(4, 2, 32, start, n, variant, scoring), variant, n)


@scored
def test_decode_of_other_scores(page: Any, variant: Variant, scoring: Scoring) -> None:
    for start in (0, 15, 100, 986):
        check_decode(page, Case(4, 2, 32, start, 1, variant, scoring), variant)


@pytest.mark.parametrize("variant", DEFAULT, ids=str)
def test_sinks_join_the_softmax(page: Any, variant: Variant) -> None:
    for scoring in (Scoring(0.3), Scoring(0.3, window=16)):
        for start, n in ((0, 1), (0, 40), (37, 33)):
            check_prefill(page, Case(6, 2, 64, start, n, variant, scoring, sinks=True), variant, n)
        for start in (0, 200):
            check_decode(page, Case(6, 2, 64, start, 1, variant, scoring, sinks=True), variant)


@pytest.mark.parametrize("variant", DEFAULT[1:], ids=str)
def test_queries_and_keys_are_rotated_in_a_launch_of_their_own(page: Any, variant: Variant) -> None:
    for start, n in ((0, 1), (67, 1), (33, 40)):
        case = Case(6, 2, 64, start, n, variant)
        heads, frequencies = (
            case.qkv.reshape(n, -1, 64).astype(np.float64),
            1e4 ** (-np.arange(0, 64, 2) / 64),
        )
        turned = rotate(heads[:, :8], start + np.arange(n), frequencies)
        expected = np.concatenate([turned, heads[:, 8:]], axis=1).reshape(n, -1)
        args = [case.qkv, case.coarse, case.fine, case.state, np.zeros_like(case.qkv)]
        kernel = rotate_heads(case.layout, CONTEXT, decode=n == 1)
        *_, actual = run_kernel(page, kernel, variant.tier, args, n=n)
        np.testing.assert_allclose(actual, expected, atol=1e-5)

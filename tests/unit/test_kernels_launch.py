"""Launches by name: what is given must be what the kernel declares; and each kernel is made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tvm.relax import BlockBuilder
from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.choice import choose
from mlcweb.kernels.choice.tier import BASE, F16, Tier
from mlcweb.kernels.experts.route import route
from mlcweb.kernels.language.builder import KernelBuilder
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.storage import Values, Vector, matrix
from mlcweb.kernels.norms.head_norm import HeadNorm, norm_heads
from mlcweb.kernels.norms.span_norm import add_norm_of_span
from mlcweb.kernels.ops.entries import ENTRY_POINTS, entry_points
from mlcweb.kernels.ops.launch import ArgumentError, launch
from mlcweb.kernels.ops.memo import KernelMemo
from mlcweb.kernels.products.matvec import Norm, Vectors
from mlcweb.kernels.products.outputs import Folded
from mlcweb.kernels.vocabulary.embedding import embed
from mlcweb.quantize import get_scheme

SCHEME = get_scheme("q4f16_1")


def weight(rows: int = 64, columns: int = 96, scheme: str = "q4f16_1", tier: Tier = BASE) -> Any:
    made = matrix(rows, columns, get_scheme(scheme).stored(""), tier)
    made.origin = object()  # of each its own
    return made


def norm(**options: Any) -> Norm:
    return Norm(**{"weight": Vector(96, "float32", BASE), "epsilon": 1e-5, **options})


@pytest.fixture
def function() -> Iterator[None]:
    """Somewhere to emit launches."""
    builder = BlockBuilder()
    with builder.function("main", []):
        yield
        builder.emit_func_output(Tensor.placeholder((1,), "float32")._expr)


def _tensor(*shape: int, dtype: str = "float32") -> Tensor:
    return Tensor.placeholder(shape, dtype)


def given(part: Any) -> dict[str, Any]:
    return {"x": _tensor(1, 96), "w": part, "residual": _tensor(1, 64)}


def product(part: Any) -> Any:
    return choose.matvec(part, BASE, folded=Folded(joined="added"))


def test_outputs_are_as_the_kernel_declares(function: None) -> None:
    part = weight()
    made = launch("decode", "o", product(part), given(part))
    assert list(made) == ["y"]
    assert (list(made["y"].shape), made["y"].dtype) == ([1, 64], "float32")


def test_an_output_that_is_given_is_written_in_place(function: None) -> None:
    part = weight()
    again = launch("decode", "o", product(part), {**given(part), "y": _tensor(1, 64)})
    assert list(again["y"].shape) == [1, 64]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.pop("residual"), "decode_o: kernel matvec: nothing is given for 'residual'"),
        (lambda g: g.update(residual=None), "nothing is given for 'residual'"),
        (lambda g: g.pop("w"), "nothing is given for 'w_codes'"),
        (lambda g: g.update(bias=_tensor(1, 64)), r"1 tensors are given for 'bias', which has \[\]"),
        (lambda g: g.update(w=_tensor(64, 12, dtype="uint32")), "1 tensors are given for 'w', which has"),
        (lambda g: g.update(x=g["residual"], residual=g["x"]), r"'x' is \[1, 96\], and \[1, 64\] is given"),
        (
            lambda g: g.update(x=_tensor(1, 96, dtype="int32")),
            r"'x' is float32 \[1, 96\], not int32 of 2 axes",
        ),
        (lambda g: g.update(x=_tensor(96)), "not float32 of 1 axes"),
        (lambda g: g.update(w=weight(64, 128)), "'w_codes' is"),
        (lambda g: g.update(y=_tensor(1, 32)), r"'y' is \[1, 64\], and \[1, 32\] is given"),
    ],
)
def test_a_tensor_in_the_wrong_place_is_refused(
    function: None, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    part = weight()
    tensors = given(part)
    change(tensors)
    with pytest.raises(ArgumentError, match=message):
        launch("decode", "o", product(part), tensors)


def test_a_kernel_must_say_what_it_writes(function: None) -> None:
    k = KernelBuilder("quiet")
    k.buffer("x", (4,), "float32")
    k.launch([1], 4)
    with pytest.raises(ArgumentError, match="decode_quiet: kernel quiet declares no output"):
        launch("decode", "quiet", k.finish(), {"x": _tensor(4)})


def test_what_is_updated_in_place_must_be_given(function: None) -> None:
    layout = HeadLayout(2, 1, 32, 4)
    kernel = choose.attend(layout, 64, Scoring(1.0), BASE)
    tensors = {
        "qkv": _tensor(1, 128),
        "rope_coarse": _tensor(1, 32),
        "rope_fine": _tensor(64, 32),
        "state": _tensor(8, dtype="int32"),
        "page_table": _tensor(4, dtype="int32"),
    }
    with pytest.raises(ArgumentError, match="decode_attend: kernel attend: nothing is given for 'kv'"):
        launch("decode", "attend", kernel, tensors)
    made = launch("decode", "attend", kernel, {**tensors, "kv": _tensor(*layout.page_shape)})
    assert list(made) == ["kv", "partial"]


def test_a_number_is_for_a_scalar(function: None) -> None:
    weight = Values((32,), "float32", BASE)
    kernel = add_norm_of_span(weight, 3, 1e-5, 1.0, BASE, decode=True)
    tensors = {"x": _tensor(1, 96), "weight": weight, "other": _tensor(1, 96)}
    assert list(launch("decode", "span", kernel, {**tensors, "span": 2})) == ["y"]
    with pytest.raises(ArgumentError, match=r"the numbers \[\] are given, and it has \['span'\]"):
        launch("decode", "span", kernel, tensors)
    with pytest.raises(ArgumentError, match=r"the numbers \['row', 'span'\] are given"):
        launch("decode", "span", kernel, {**tensors, "span": 2, "row": 1})


Make = Callable[..., Any]
HEADS = HeadLayout(2, 1, 32, 4)


def heads(epsilon: float = 1e-5, width: int = 32) -> HeadNorm:
    return HeadNorm(Values((width,), "float32", BASE), Values((32,), "float32", BASE), epsilon, "rms")


# a function, what it is given, and changes of each of which another kernel must come
CASES: list[tuple[Make, Callable[[], dict[str, Any]], list[dict[str, Any]]]] = [
    (
        embed,
        lambda: {"table": weight(), "prefill": False},
        [
            {"scale": 2.0},
            {"positions": Values((32, 96), "float32", BASE)},
            {"piece": Piece(0, 128)},
            {"block_order": True},
            {"prefill": True},
            {"table": weight(32)},
            {"table": weight(scheme="q8f16_1")},
            {"table": weight(tier=F16)},
        ],
    ),
    (
        choose.matvec,
        lambda: {"weight": weight(), "tier": BASE, "norm": norm(), "folded": Folded(cap=30.0)},
        [
            {"folded": Folded(cap=31.0)},
            {"folded": Folded()},
            {"folded": Folded(Values((64,), "float32", BASE), cap=30.0)},
            {"folded": Folded(Values((64,), "float16", BASE), cap=30.0)},
            {"norm": norm(epsilon=1e-6)},
            {"norm": None},
            {"norm": norm(weight=Vector(96, "float16", BASE))},
            {"vectors": Vectors(y_block_order=True)},
            {"piece": Piece(0, 128)},
        ],
    ),
    (
        choose.normalize,
        lambda: {"norm": norm(), "tier": BASE},
        [
            {"norm": norm(epsilon=1e-6)},
            {"norm": norm(centered=True)},
            {"norm": norm(centered=True, bias=Vector(96, "float32", BASE))},
            {"residual": True},
            {"decode": True},
            {"last_row": True},
            {"scale": Values((1,), "float32", BASE)},
        ],
    ),
    (
        norm_heads,
        lambda: {"layout": HEADS, "norm": heads(), "decode": True},
        [
            {"norm": heads(1e-6)},
            {"norm": heads(width=64)},
            {"decode": False},
            {"layout": replace(HEADS, pages=5)},
            {"norm": replace(heads(), values=True)},
            {"norm": replace(heads(), k_weight=None), "layout": replace(HEADS, appends=False)},
        ],
    ),
    (
        route,
        lambda: {"router": Values((8, 96), "float32", BASE), "experts_per_token": 2, "tier": BASE},
        [{"norm": norm()}, {"experts_per_token": 3}, {"router": Values((8, 96), "float16", BASE)}],
    ),
]


@pytest.mark.parametrize(("make", "arguments", "changes"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_whatever_a_kernel_is_made_of_makes_another(
    make: Make, arguments: Callable[[], dict[str, Any]], changes: list[dict[str, Any]]
) -> None:
    kernel = KernelMemo()
    first = kernel(make, **arguments())
    # weights of their own, stored alike, and a default that is spelled out
    assert kernel(make, **arguments()) is first
    others = [kernel(make, **{**arguments(), **change}) for change in changes]
    assert len({id(k) for k in (first, *others)}) == 1 + len(changes)


def test_defaults_and_positions_are_the_same_arguments() -> None:
    kernel, part = KernelMemo(), weight()
    first = kernel(embed, part, prefill=True)
    assert kernel(embed, table=part, prefill=True, scale=1.0, positions=None) is first


def test_an_argument_that_says_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match="a kernel's argument is a object"):
        KernelMemo()(choose.merge, object(), BASE)  # type: ignore[arg-type]


def test_entries_of_a_scheme_and_a_tier() -> None:
    names = [point.name for point in ENTRY_POINTS]
    assert names == [
        "prefill",
        "prefill_int8",
        "prefill_matrix",
        "prefill_few",
        "decode",
        "penalize",
        "mask",
        "sample",
        "count",
        "image",
    ]
    assert [p.name for p in entry_points(SCHEME, BASE, sees=True)][-1] == "image"
    assert [p.name for p in entry_points(SCHEME, BASE)] == [
        "prefill",
        "prefill_int8",
        "prefill_few",
        "decode",
        "penalize",
        "mask",
        "sample",
        "count",
    ]
    assert [p.name for p in entry_points(get_scheme("q0f32"), BASE)] == [
        "prefill",
        "prefill_few",
        "decode",
        "penalize",
        "mask",
        "sample",
        "count",
    ]

"""The kernels as operations of an nn model: ``Decode`` works on one token, ``Prefill`` on a chunk of n.

Both have the same methods, so a model is written once; each method is one or two launches. ``reference.HostOps`` has
them too, in numpy.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tvm import tirx
from tvm.relax.frontend.nn import Tensor, op

from mlcweb.kernels import attention_prefill, choose, sampling
from mlcweb.kernels.builder import dynamic
from mlcweb.kernels.cache import HeadLayout
from mlcweb.kernels.embedding import embed
from mlcweb.kernels.head_norm import HeadNorm, norm_heads
from mlcweb.kernels.linear import Norm
from mlcweb.kernels.matmul_int8 import matmul_int8
from mlcweb.kernels.moe import Mixture, MoeLaunches
from mlcweb.kernels.outputs import Activation
from mlcweb.kernels.pieces import Matrix, Piece, pieces
from mlcweb.kernels.rows import quantize_rows
from mlcweb.kernels.scores import Scores
from mlcweb.kernels.storage import GROUP, GroupQuantized, Values, WholeMatrix
from mlcweb.kernels.tier import Tier


@dataclass(frozen=True)
class Rope:
    """RoPE's tables, as parameters of the model."""

    coarse: Values
    fine: Values


@dataclass(frozen=True)
class Finish:
    """What is folded into a product's outputs: bias, activation (times the up half, if ``gated``), residual."""

    bias: Values | None = None
    activation: Activation | None = None
    gated: bool = False
    residual: Tensor | None = None
    cap: float | None = None

    @property
    def key(self) -> Hashable:
        """What a kernel depends on."""
        return (self.bias is not None, self.activation, self.gated, self.residual is not None, self.cap)

    @property
    def tensors(self) -> list[Tensor]:
        """A kernel's arguments after the weight."""
        bias = self.bias.tensors if self.bias else []
        return [*bias, *([] if self.residual is None else [self.residual])]

    def outputs(self, weight: Matrix) -> int:
        """Columns of the result."""
        return weight.rows // 2 if self.gated else weight.rows


@dataclass
class Ops:
    """What decode and prefill share: the tier, the attention's shape, and one PrimFunc per distinct kernel."""

    tier: Tier
    layout: HeadLayout
    context: int
    _made: dict[Hashable, tirx.PrimFunc] = field(default_factory=dict)

    def _once(self, key: Hashable, make: Callable[[], tirx.PrimFunc]) -> tirx.PrimFunc:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _launch(
        self,
        name: str,
        weight: Matrix,
        key: Hashable,
        make: Callable[[WholeMatrix, Piece | None], tirx.PrimFunc],
        args: Callable[[WholeMatrix], list[Tensor]],
        out: Tensor,
    ) -> Tensor:
        """A launch for each piece of ``weight``: the first makes ``out``, the others write into it."""
        for i, (part, piece) in enumerate(pieces(weight)):
            func = self._once((key, _shape(part), piece), partial(make, part, piece))
            if i == 0:
                out = op.tensor_ir_op(func, name, args(part), out)
            else:
                same = Tensor.placeholder(out.shape, "float32")
                given = [*args(part), out]
                out = op.tensor_ir_inplace_op(func, name, given, [len(given) - 1], same)
        return out

    def _norm_heads(self, entry: str, rows: Any, qkv: Tensor, norm: HeadNorm) -> Tensor:
        key = ("norm_heads", norm.q_weight.columns, norm.k_weight.columns, norm.epsilon, norm.kind)
        func = self._once(key, lambda: norm_heads(self.layout, norm, rows))
        out = Tensor.placeholder(qkv.shape, "float32")
        args = [qkv, *norm.q_weight.tensors, *norm.k_weight.tensors]
        return op.tensor_ir_op(func, f"{entry}_norm_heads", args, out)


def _shape(weight: WholeMatrix) -> tuple[str, int, int]:
    return type(weight).__name__, weight.rows, weight.columns


def _norm_key(norm: Norm | None) -> Hashable:
    return norm and (norm.weight.columns, norm.epsilon, norm.centered, norm.bias is not None)


class Decode(Ops):
    """One token: matrix-vector products with norm, SwiGLU and residual folded in; split attention."""

    def embed(
        self,
        table: Matrix,
        ids: Tensor,
        *,
        scale: float = 1.0,
        positions: WholeMatrix | None = None,
        state: Tensor | None = None,
    ) -> Tensor:
        """x ``[1, D]`` of the token in ``state``, which ``ids`` is here, scaled; plus its learned position, if there
        are ``positions``.
        """
        learned = positions.tensors if positions else []
        return self._launch(
            "decode_embed",
            table,
            "embed",
            lambda part, piece: embed(
                part,
                prefill=False,
                to_blocks=choose.in_blocks(self.tier),
                scale=scale,
                positions=positions,
                piece=piece,
            ),
            lambda part: [ids, *part.tensors, *learned],
            Tensor.placeholder((1, table.columns), "float32"),
        )

    def linear(
        self,
        name: str,
        x: Tensor,
        weight: Matrix,
        *,
        norm: Norm | None = None,
        bias: Values | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        residual: Tensor | None = None,
        rows: bool = False,
    ) -> Tensor:
        """``residual + activation(linear(norm(x)) + bias)``; ``gated``: the weight is gate over up, and the result
        activation(gate) * up. ``rows``: for attention, which reads the outputs in their own order.
        """
        return self._linear(name, x, weight, norm, Finish(bias, activation, gated, residual), blocks=not rows)

    def _linear(
        self, name: str, x: Tensor, weight: Matrix, norm: Norm | None, finish: Finish, *, blocks: bool
    ) -> Tensor:
        if norm is not None and norm.centered:
            x, norm = self.norm(x, norm), None
        norms = norm.tensors if norm else []
        return self._launch(
            f"decode_{name}",
            weight,
            (name, _norm_key(norm), finish.key, blocks),
            lambda part, piece: choose.matvec(
                part,
                self.tier,
                norm=norm,
                bias=finish.bias,
                residual=finish.residual is not None,
                activation=finish.activation,
                gated=finish.gated,
                cap=finish.cap,
                to_blocks=blocks,
                piece=piece,
            ),
            lambda part: [x, *norms, *part.tensors, *finish.tensors],
            Tensor.placeholder((1, finish.outputs(weight)), "float32"),
        )

    def norm(self, x: Tensor, norm: Norm, *, residual: Tensor | None = None) -> Tensor:
        """``norm(x)``, or ``residual + norm(x)``."""
        func = self._once(
            ("norm", _norm_key(norm), residual is None),
            lambda: choose.normalize(norm, self.tier, decode=True, residual=residual is not None),
        )
        args = [x, *norm.tensors, *([] if residual is None else [residual])]
        return op.tensor_ir_op(func, "decode_norm", args, Tensor.placeholder(x.shape, "float32"))

    def norm_heads(self, qkv: Tensor, norm: HeadNorm) -> Tensor:
        """``qkv`` ``[1, (H + 2 KV) * D]`` with queries and keys normalized."""
        return self._norm_heads("decode", 1, qkv, norm)

    def attention(
        self, qkv: Tensor, rope: Rope, state: Tensor, table: Tensor, kv: Tensor, scores: Scores
    ) -> Tensor:
        """``[1, H * D]``; appends the token's key and value to ``kv``."""
        layout, how = self.layout, scores.within(self.context)
        attend = self._once(("attend", how), lambda: choose.attend(layout, self.context, how, self.tier))
        partial = Tensor.placeholder((layout.heads, choose.splits(self.tier), layout.head_dim + 2), "float32")
        _, partial = op.tensor_ir_inplace_op(
            attend,
            "decode_attend",
            [qkv, rope.coarse.weight, rope.fine.weight, state, table, kv],
            [5, -1],
            [Tensor.placeholder(layout.page_shape, layout.storage), partial],
        )
        merge = self._once("merge", lambda: choose.merge(layout, self.tier))
        out = Tensor.placeholder((1, layout.heads * layout.head_dim), "float32")
        return op.tensor_ir_op(merge, "decode_merge", [partial], out)

    def moe(self, x: Tensor, norm: Norm, mixture: Mixture, *, residual: Tensor) -> Tensor:
        """``residual + mixture(norm(x))``, ``[1, D]``."""
        return MoeLaunches(self.tier, self._once).decode(x, norm, mixture, residual)

    def head(
        self,
        x: Tensor,
        norm: Norm,
        weight: Matrix,
        *,
        bias: Values | None = None,
        cap: float | None = None,
    ) -> Tensor:
        """Logits ``[1, V]``, soft-capped if ``cap``."""
        return self._linear("head", x, weight, norm, Finish(bias, cap=cap), blocks=False)


class Prefill(Ops):
    """A chunk of n tokens: tiled matrix products and flash attention; only the last token's logits."""

    def embed(
        self,
        table: Matrix,
        ids: Tensor,
        *,
        scale: float = 1.0,
        positions: WholeMatrix | None = None,
        state: Tensor | None = None,
    ) -> Tensor:
        """x ``[n, D]`` of ``tokens`` ``[n]``, scaled; plus learned ``positions``, of which ``state`` has the first."""
        learned = [state, *positions.tensors] if positions else []
        return self._launch(
            "prefill_embed",
            table,
            "embed",
            lambda part, piece: embed(part, prefill=True, scale=scale, positions=positions, piece=piece),
            lambda part: [ids, *part.tensors, *learned],
            Tensor.placeholder((ids.shape[0], table.columns), "float32"),
        )

    def linear(
        self,
        name: str,
        x: Tensor,
        weight: Matrix,
        *,
        norm: Norm | None = None,
        bias: Values | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        residual: Tensor | None = None,
        rows: bool = False,
    ) -> Tensor:
        """``residual + activation(linear(norm(x)) + bias)``; ``gated``: the weight is gate over up, and the result
        activation(gate) * up. ``rows`` is for decode.
        """
        del rows
        return self._product(name, x, weight, norm, Finish(bias, activation, gated, residual))

    def _product(self, name: str, x: Tensor, weight: Matrix, norm: Norm | None, finish: Finish) -> Tensor:
        x = self.norm(x, norm) if norm else x
        return self._launch(
            f"prefill_{name}",
            weight,
            (name, finish.key),
            lambda part, piece: choose.matmul(
                part,
                self.tier,
                bias=finish.bias,
                residual=finish.residual is not None,
                activation=finish.activation,
                gated=finish.gated,
                piece=piece,
            ),
            lambda part: [x, *part.tensors, *finish.tensors],
            Tensor.placeholder((x.shape[0], finish.outputs(weight)), "float32"),
        )

    def norm(
        self, x: Tensor, norm: Norm, *, residual: Tensor | None = None, last_row: bool = False
    ) -> Tensor:
        """``norm(x)``, or ``residual + norm(x)``; of the last token only if ``last_row``."""
        func = self._once(
            ("norm", _norm_key(norm), residual is None, last_row),
            lambda: choose.normalize(norm, self.tier, residual=residual is not None, last_row=last_row),
        )
        args = [x, *norm.tensors, *([] if residual is None else [residual])]
        out = Tensor.placeholder((1, x.shape[1]) if last_row else x.shape, "float32")
        return op.tensor_ir_op(func, "prefill_norm", args, out)

    def norm_heads(self, qkv: Tensor, norm: HeadNorm) -> Tensor:
        """``qkv`` ``[n, (H + 2 KV) * D]`` with queries and keys normalized."""
        return self._norm_heads("prefill", dynamic("n"), qkv, norm)

    def attention(
        self, qkv: Tensor, rope: Rope, state: Tensor, table: Tensor, kv: Tensor, scores: Scores
    ) -> Tensor:
        """``[n, H * D]``, causal; appends the chunk's keys and values to ``kv``."""
        layout, how = self.layout, scores.within(self.context)
        append = self._once(
            ("append", how.scale), lambda: attention_prefill.rope_append(layout, self.context, how.scale)
        )
        shape = (qkv.shape[0], layout.heads * layout.head_dim)
        pages = Tensor.placeholder(layout.page_shape, layout.storage)
        kv, queries = op.tensor_ir_inplace_op(
            append,
            "prefill_rope",
            [qkv, rope.coarse.weight, rope.fine.weight, state, table, kv],
            [5, -1],
            [pages, Tensor.placeholder(shape, "float32")],
        )
        attend = self._once(("flash", how), lambda: choose.flash_attention(layout, how, self.tier))
        out = Tensor.placeholder(shape, "float32")
        return op.tensor_ir_op(attend, "prefill_attend", [queries, state, table, kv], out)

    def moe(self, x: Tensor, norm: Norm, mixture: Mixture, *, residual: Tensor) -> Tensor:
        """``residual + mixture(norm(x))``, ``[n, D]``."""
        return MoeLaunches(self.tier, self._once).prefill(self.norm(x, norm), mixture, residual)

    def head(
        self,
        x: Tensor,
        norm: Norm,
        weight: Matrix,
        *,
        bias: Values | None = None,
        cap: float | None = None,
    ) -> Tensor:
        """Logits ``[1, V]`` of the last token, soft-capped if ``cap``."""
        if norm.centered:
            x = self.norm(x, norm, last_row=True)
        folded = None if norm.centered else norm
        norms = folded.tensors if folded else []
        return self._launch(
            "prefill_head",
            weight,
            "head",
            lambda part, piece: choose.matvec(
                part,
                self.tier,
                norm=folded,
                bias=bias,
                cap=cap,
                last_row=folded is not None,
                from_blocks=False,
                piece=piece,
            ),
            lambda part: [x, *norms, *part.tensors, *(bias.tensors if bias else [])],
            Tensor.placeholder((1, weight.rows), "float32"),
        )


class PrefillInt8(Prefill):
    """As ``Prefill``, with activations rounded to int8 before each product, in groups as weights are."""

    def _product(self, name: str, x: Tensor, weight: Matrix, norm: Norm | None, finish: Finish) -> Tensor:
        if norm is not None and norm.centered:
            x, norm = self.norm(x, norm), None
        bits = _group_quantized(pieces(weight)[0][0]).bits
        codes, scales = self._rounded("norm" if norm else f"round_{name}", x, norm, bits)
        return self._launch(
            f"prefill_int8_{name}",
            weight,
            (name, finish.key),
            lambda part, piece: matmul_int8(
                _group_quantized(part),
                bias=finish.bias,
                residual=finish.residual is not None,
                activation=finish.activation,
                gated=finish.gated,
                piece=piece,
            ),
            lambda part: [codes, scales, *part.tensors, *finish.tensors],
            Tensor.placeholder((x.shape[0], finish.outputs(weight)), "float32"),
        )

    def moe(self, x: Tensor, norm: Norm, mixture: Mixture, *, residual: Tensor) -> Tensor:
        """As ``Prefill.moe``, with ``gate_up``'s inputs rounded; the router's and ``down``'s are not."""
        weight = mixture.gate_up[0]
        if not isinstance(weight, GroupQuantized):
            raise ValueError("an int8 product needs group-quantized experts")
        rounded = self._rounded("norm", x, norm, weight.bits)
        return MoeLaunches(self.tier, self._once).prefill(self.norm(x, norm), mixture, residual, rounded)

    def _rounded(self, name: str, x: Tensor, norm: Norm | None, bits: int) -> tuple[Tensor, Tensor]:
        n, width = x.shape[0], int(x.shape[1])
        groups = -(-width // GROUP)
        func = self._once(
            ("int8", width, _norm_key(norm), bits),
            lambda: quantize_rows(width, self.tier, norm, weight_bits=bits),
        )
        outs = [
            Tensor.placeholder((n, groups * GROUP // 4), "uint32"),
            Tensor.placeholder((n, groups), "float32"),
        ]
        args = [x, *(norm.tensors if norm else [])]
        codes, scales = op.tensor_ir_op(func, f"prefill_int8_{name}", args, outs)
        return codes, scales


def _group_quantized(weight: WholeMatrix) -> GroupQuantized:
    if not isinstance(weight, GroupQuantized):
        raise ValueError("an int8 product needs group-quantized weights")
    return weight


def sample(logits: Tensor, sampling_params: Tensor, state: Tensor) -> Tensor:
    """Choose a token from ``logits`` and advance ``state``, in place; returns the state."""
    vocab = int(logits.shape[1])
    blocks = sampling.blocks(vocab)
    ids, scores = op.tensor_ir_op(
        sampling.scan(vocab),
        "sample_scan",
        [logits, sampling_params, state],
        [Tensor.placeholder((blocks,), "int32"), Tensor.placeholder((blocks, 2), "float32")],
    )
    return op.tensor_ir_inplace_op(
        sampling.pick(vocab),
        "sample_pick",
        [logits, sampling_params, ids, scores, state],
        [4],
        Tensor.placeholder((8,), "int32"),
    )

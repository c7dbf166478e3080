"""Launches the operations on whole texts side by side, n tokens of b texts together, without a KV cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn

from tvm import tirx
from tvm.relax.frontend.nn import Tensor

from mlcweb.contract.constants import Pooling
from mlcweb.errors import UnsupportedError
from mlcweb.kernels.attention.rotate import rotate_heads
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Matrix
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.ops.prefill import Prefill
from mlcweb.kernels.ops.protocol import Rope
from mlcweb.kernels.ops.shared import Ops
from mlcweb.kernels.recurrent.causal_conv import CausalConv
from mlcweb.kernels.recurrent.gated_delta import GatedDelta
from mlcweb.kernels.texts.attention import attend_texts
from mlcweb.kernels.texts.pool import pool, unit
from mlcweb.kernels.texts.score import score
from mlcweb.kernels.vocabulary.embedding import embed


@dataclass(frozen=True)
class TextKernels:
    """What makes the kernels of whole texts, on a GPU or on a CPU."""

    embed: Callable[..., tirx.PrimFunc]
    rotate_heads: Callable[..., tirx.PrimFunc]
    attend: Callable[[HeadLayout, Scoring], tirx.PrimFunc]
    pool: Callable[[int, Pooling], tirx.PrimFunc]


class WholeTexts(Ops):
    """What a GPU and a CPU share: each token sees only its own text, by ``places``."""

    phase: ClassVar[str] = "texts"
    text_kernels: ClassVar[TextKernels]

    def embed(
        self,
        table: Matrix,
        *,
        name: str = "embed",
        scale: float = 1.0,
        positions: WholeMatrix | None = None,
        rows: bool = False,
        images: bool = False,
        kinds: WholeMatrix | None = None,
    ) -> Tensor:
        """x ``[n, D]`` of the tokens, scaled; plus rows of learned ``positions``, and of token types."""
        learned: dict[str, Any] = {"positions": positions, "kinds": kinds}
        given = {"places": self.inputs.places if positions or kinds else None, **learned}
        return self._look_up(self.text_kernels.embed, table, name, given, scale=scale, texts=True, **learned)

    def attention(
        self,
        qkv: Tensor,
        rope: Rope,
        kv: Tensor,
        scoring: Scoring,
        layout: HeadLayout,
        sinks: Values | None = None,
    ) -> Tensor:
        """``[n, H * P]``, within each text; nothing is kept in ``kv``."""
        if not layout.appends or sinks is not None:
            raise UnsupportedError(
                "a model whose layers share keys, or that has sinks, makes no embeddings here"
            )
        scoring = scoring.within(self.context)
        if scoring.growth is not None:
            raise UnsupportedError("a model whose queries grow with their position makes no embeddings here")
        places = self.inputs.windows if scoring.windows else self.inputs.places
        if rope.turns:
            qkv = self.rotate_heads(qkv, rope, layout)
        kernel = self.kernel(self.text_kernels.attend, layout, replace(scoring, windows=False))
        return self.launch("attend", kernel, qkv=qkv, places=places)["attention"]

    def rotate_heads(self, qkv: Tensor, rope: Rope, layout: HeadLayout) -> Tensor:
        """``qkv`` ``[n, (H + 2 J) * P]`` with queries and keys turned by each token's position in its text."""
        kernel = self.kernel(self.text_kernels.rotate_heads, layout, self.context, texts=True)
        given = {"qkv": qkv, "places": self.inputs.places, "rope_coarse": rope.coarse, "rope_fine": rope.fine}
        return self.launch("rope", kernel, **given)["y"]

    def pool(self, x: Tensor, pooling: Pooling) -> Tensor:
        """``[b, D]``: of each text's rows of x ``[n, D]`` the mean, the first or the last."""
        kernel = self.kernel(self.text_kernels.pool, int(x.shape[1]), pooling)
        return self.launch("pool", kernel, x=x, places=self.inputs.places, texts=self.inputs.texts)["y"]

    def causal_conv(self, x: Tensor, conv: CausalConv, recurrent: Tensor) -> NoReturn:
        """Raises UnsupportedError: the state of one text would go into the next."""
        raise UnsupportedError("a model with recurrent layers makes no embeddings here")

    def gated_delta(self, qkv: Tensor, ba: Tensor, delta: GatedDelta, recurrent: Tensor) -> NoReturn:
        """As ``causal_conv``."""
        raise UnsupportedError("a model with recurrent layers makes no embeddings here")


class Texts(WholeTexts, Prefill):
    """With prefill's products and norms."""

    text_kernels: ClassVar[TextKernels] = TextKernels(embed, rotate_heads, attend_texts, pool)

    def unit(self, x: Tensor) -> Tensor:
        """x ``[b, D]``, each row of length 1."""
        return self.launch("unit", self.kernel(unit, int(x.shape[1]), self.tier), x=x)["y"]

    def score(self, x: Tensor, weight: WholeMatrix, bias: Values | None) -> Tensor:
        """``[b, 1]``: x ``[b, D]`` times the last row of ``weight``, less x times its first if it has two."""
        return self.launch("score", self.kernel(score, weight, bias, self.tier), x=x, w=weight, bias=bias)[
            "y"
        ]

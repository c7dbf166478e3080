"""Launches the operations on whole texts side by side, on a CPU."""

from __future__ import annotations

from typing import Any, ClassVar

from tvm.relax.frontend.nn import Tensor

from mlcweb.contract.constants import Pooling
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.cpu.embed import embed
from mlcweb.kernels.cpu.heads import rotate_heads
from mlcweb.kernels.cpu.texts import attend_texts, pool, score, unit
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Matrix, pieces
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.ops.cpu import CpuPrefill
from mlcweb.kernels.ops.protocol import Rope
from mlcweb.kernels.ops.texts import NoStates, scoring_of_texts


class CpuTexts(NoStates, CpuPrefill):
    """As ``Texts``, with the CPU's products and norms."""

    phase: ClassVar[str] = "texts"

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
        x: Tensor | None = None
        learned: dict[str, Any] = {"positions": positions, "kinds": kinds}
        places = self.inputs.places if positions or kinds else None
        for w, piece in pieces(table):
            kernel = self.kernel(embed, w, prefill=True, scale=scale, piece=piece, texts=True, **learned)
            x = self.launch(name, kernel, ids=self.inputs.tokens, w=w, places=places, **learned, x=x)["x"]
        return x

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
        scoring = scoring_of_texts(layout, scoring, sinks, self.context)
        if rope.turns:
            qkv = self.rotate_heads(qkv, rope, layout)
        kernel = self.kernel(attend_texts, layout, scoring)
        return self.launch("attend", kernel, qkv=qkv, places=self.inputs.places)["attention"]

    def rotate_heads(self, qkv: Tensor, rope: Rope, layout: HeadLayout) -> Tensor:
        """``qkv`` ``[n, (H + 2 J) * P]`` with queries and keys turned by each token's position in its text."""
        kernel = self.kernel(rotate_heads, layout, self.context, texts=True)
        given = {"qkv": qkv, "places": self.inputs.places, "rope_coarse": rope.coarse, "rope_fine": rope.fine}
        return self.launch("rope", kernel, **given)["y"]

    def pool(self, x: Tensor, pooling: Pooling) -> Tensor:
        """``[b, D]``: of each text's rows of x ``[n, D]`` the mean, the first or the last."""
        kernel = self.kernel(pool, int(x.shape[1]), pooling)
        return self.launch("pool", kernel, x=x, places=self.inputs.places, texts=self.inputs.texts)["y"]

    def unit(self, x: Tensor) -> Tensor:
        """x ``[b, D]``, each row of length 1."""
        return self.launch("unit", self.kernel(unit, int(x.shape[1])), x=x)["y"]

    def score(self, x: Tensor, weight: WholeMatrix, bias: Values | None) -> Tensor:
        """``[b, 1]``: x ``[b, D]`` times the last row of ``weight``, less x times its first if it has two."""
        return self.launch("score", self.kernel(score, weight, bias), x=x, w=weight, bias=bias)["y"]

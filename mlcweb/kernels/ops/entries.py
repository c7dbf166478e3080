"""Lists the entries of a plan. Another prefill is a file with its operations and a row here.

Their order is that of the plan. ``mlcweb.lower`` exports each, and the plan says what the engine needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tvm.relax.frontend.nn import Tensor

from mlcweb.contract.constants import ENTRIES
from mlcweb.contract.plan import Needs
from mlcweb.kernels.choice.choose import has_few, has_int8, has_matrix
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.ops.cpu import CpuDecode, CpuPrefill
from mlcweb.kernels.ops.cpu_texts import CpuTexts
from mlcweb.kernels.ops.decode import Decode
from mlcweb.kernels.ops.images import Images
from mlcweb.kernels.ops.prefill import Prefill
from mlcweb.kernels.ops.prefill_few import PrefillFew
from mlcweb.kernels.ops.prefill_int8 import PrefillInt8
from mlcweb.kernels.ops.prefill_matrix import PrefillMatrix
from mlcweb.kernels.ops.protocol import Operations
from mlcweb.kernels.ops.shared import Inputs, Target
from mlcweb.kernels.ops.texts import Texts
from mlcweb.kernels.products.matmul_matrix import needs_beyond
from mlcweb.quantize import Scheme

Phase = Literal["prefill", "decode", "penalize", "mask", "sample", "count", "texts", "image"]
_DIMS = {row.name: row.dims for row in ENTRIES}
MakeOps = Callable[[Target, Inputs], Operations[Tensor]]


@dataclass(frozen=True)
class EntryPoint:
    """One entry: ``phase`` decides its inputs, and ``output`` is the buffer that it returns.

    ``ops`` are the operations that the model's ``forward`` is run with; masking and sampling have no model. ``exists``
    says whether a scheme has it on a tier, ``needs`` what it needs of a device beyond its tier, as the plan has it.
    One that is ``asked_for`` is left out unless somebody wants it, and one that ``sees`` unless the model does.
    """

    name: str
    phase: Phase
    ops: MakeOps | None = None
    exists: Callable[[Scheme, Tier], bool] = lambda scheme, tier: True
    needs: Callable[[Tier], Needs] | None = None
    asked_for: bool = False
    output: str = "logits"
    sees: bool = False

    @property
    def dims(self) -> tuple[str, ...]:
        """Its dynamic sizes, as the contract has them."""
        return _DIMS[self.name]


PREFILL_INT8 = EntryPoint("prefill_int8", "prefill", PrefillInt8, has_int8)
ENTRY_POINTS = (
    EntryPoint("prefill", "prefill", Prefill),
    PREFILL_INT8,
    EntryPoint("prefill_matrix", "prefill", PrefillMatrix, has_matrix, needs=needs_beyond, asked_for=True),
    EntryPoint("prefill_few", "prefill", PrefillFew, has_few),
    EntryPoint("decode", "decode", Decode),
    EntryPoint("penalize", "penalize"),
    EntryPoint("mask", "mask"),
    EntryPoint("sample", "sample"),
    EntryPoint("count", "count"),
    EntryPoint("image", "image", Images, output="image_rows", sees=True),
)

# The CPU's tier. Tokens are sampled on the CPU in any case.
CPU_ENTRY_POINTS = (
    EntryPoint("prefill", "prefill", CpuPrefill),
    EntryPoint("decode", "decode", CpuDecode),
)

# A model of whole texts has one entry alone, by what it makes of them.
_OUTPUTS = {"embed": "embeddings", "score": "scores"}


def entry_points(
    scheme: Scheme, tier: Tier, *, matrix: bool = False, texts: str | None = None, sees: bool = False
) -> tuple[EntryPoint, ...]:
    """The entries of a scheme's plan for a tier; ``matrix``: also those that somebody must ask for. ``texts``: what
    the model makes of whole texts, if it does. ``sees``: it takes pictures.
    """
    if texts is not None:
        return (EntryPoint(texts, "texts", CpuTexts if tier.cpu else Texts, output=_OUTPUTS[texts]),)
    if tier.cpu:
        return CPU_ENTRY_POINTS
    return tuple(
        e
        for e in ENTRY_POINTS
        if e.exists(scheme, tier) and (matrix or not e.asked_for) and (sees or not e.sees)
    )

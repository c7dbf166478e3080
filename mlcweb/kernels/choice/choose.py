"""The kernel of each operation on a tier: those of ``kernels.software`` where the adapter is a CPU, else the others.

A software tier shares what has no kernel of its own there: unquantized matrices, those of 3 bits and experts, among
others.
"""

from dataclasses import replace

from tvm import tirx

from mlcweb.debug import CHOICE, logger
from mlcweb.kernels import software
from mlcweb.kernels.attention import decode as attention_decode
from mlcweb.kernels.attention import prefill as attention_prefill
from mlcweb.kernels.attention.scores import Scores
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.experts.weights import Chosen, Part
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import GROUP, WholeMatrix
from mlcweb.kernels.norms import norm as norm_
from mlcweb.kernels.products import matmul as matmul_
from mlcweb.kernels.products import matvec as matvec_
from mlcweb.kernels.products.matmul import Tile
from mlcweb.kernels.products.matvec import Norm, Vectors
from mlcweb.kernels.products.outputs import NOTHING, Folded
from mlcweb.kernels.software.words import by_words
from mlcweb.quantize import GGUF_FORMATS, Scheme

_log = logger("kernels.choose")


def in_blocks(tier: Tier) -> bool:
    """Whether decode's vectors are in block order: a CPU's lanes take a row each, and read x in its own order."""
    return not tier.software


def has_int8(scheme: Scheme, tier: Tier) -> bool:
    """Whether prefill can have int8 activations too: they come in groups that the weights' must fit."""
    return _quantizes(scheme) and scheme.group_size == GROUP and not tier.software


def has_matrix(scheme: Scheme, tier: Tier) -> bool:
    """Whether prefill can be on subgroup matrices too: weights in groups of 32 or whatever a GGUF file has, and the
    best tier with subgroups that the scheme has.

    Their factors are float16: who has no shader-f16 for the tier ``f16-subgroups`` has none for them.
    """
    if not _quantizes(scheme) or scheme.group_size != GROUP or tier.software or not tier.subgroups:
        return False
    return tier.f16 or not scheme.float16


def _quantizes(scheme: Scheme) -> bool:
    if scheme.types is not None:
        return any(kind in GGUF_FORMATS for kind in scheme.types.values())
    return scheme.bits is not None


def matvec(
    weight: WholeMatrix,
    tier: Tier,
    *,
    norm: Norm | None = None,
    folded: Folded = NOTHING,
    vectors: Vectors = Vectors(),  # noqa: B008 (it is frozen)
    experts: Chosen | None = None,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """``products.matvec``; block order only where the tier has it."""
    if _reads_words("matvec", weight, tier, experts):
        last_row = vectors.last_row
        return software.matvec.matvec(weight, norm=norm, folded=folded, last_row=last_row, piece=piece)
    if not in_blocks(tier):
        vectors = replace(vectors, from_blocks=False, to_blocks=False)
    return matvec_.matvec(
        weight, tier, norm=norm, folded=folded, vectors=vectors, experts=experts, piece=piece
    )


def matmul(
    weight: WholeMatrix,
    tier: Tier,
    *,
    folded: Folded = NOTHING,
    tile: Tile | None = None,
    experts: Part | None = None,
    from_pairs: bool = False,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """``products.matmul``."""
    if _reads_words("matmul", weight, tier, experts):
        return software.matmul.matmul(weight, folded=folded, piece=piece)
    return matmul_.matmul(
        weight, tier, folded=folded, tile=tile, experts=experts, from_pairs=from_pairs, piece=piece
    )


def _reads_words(product: str, weight: WholeMatrix, tier: Tier, experts: Chosen | Part | None) -> bool:
    """Whether a product on a CPU's tier has a kernel in ``kernels.software``."""
    taken = tier.software and by_words(weight) and experts is None
    if _log.isEnabledFor(CHOICE):
        stored = weight.form.name if isinstance(weight, GroupQuantized) else weight.dtype
        if not tier.software:
            why = "adapters of this tier are GPUs"
        elif taken:
            why = "adapters of this tier are CPUs, and codes are read a word at a time"
        else:
            why = (
                "kernels for CPUs have no experts"
                if by_words(weight)
                else f"kernels for CPUs do not read {stored}"
            )
        package = "software" if taken else "products"
        _log.log(
            CHOICE,
            "tier %s: %s of %s [%d, %d]: %s.%s, since %s",
            *(tier.name, product, stored, weight.rows, weight.columns, package, product, why),
        )
    return taken


def normalize(
    how: Norm, tier: Tier, *, decode: bool = False, residual: bool = False, last_row: bool = False
) -> tirx.PrimFunc:
    """``norms.norm.normalize``; decode's vectors are in block order where the tier has it."""
    if tier.software:
        return software.norm.normalize(how, decode=decode, residual=residual, last_row=last_row)
    return norm_.normalize(how, tier, decode=decode, residual=residual, in_blocks=decode, last_row=last_row)


def splits(tier: Tier) -> int:
    """Into how many parts ``attend`` splits the context."""
    return software.attention.SPLITS if tier.software else attention_decode.SPLITS


def attend(layout: HeadLayout, context: int, how: Scores, tier: Tier) -> tirx.PrimFunc:
    """``attention.decode.attend``."""
    if tier.software:
        return software.attention.attend(layout, context, how)
    return attention_decode.attend(layout, context, how)


def merge(layout: HeadLayout, tier: Tier) -> tirx.PrimFunc:
    """``attention.decode.merge``."""
    return software.attention.merge(layout) if tier.software else attention_decode.merge(layout)


def flash_attention(layout: HeadLayout, how: Scores, tier: Tier) -> tirx.PrimFunc:
    """``attention.prefill.flash_attention``."""
    if tier.software:
        return software.attention.flash_attention(layout, how)
    return attention_prefill.flash_attention(layout, how)

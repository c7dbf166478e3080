"""Chooses the kernel of each operation on a tier: general kernels for GPUs, others for adapters that are a CPU.

On the tier ``software`` a product takes the general kernel where ``kernels.software`` has none: for unquantized
matrices, 3-bit ones and experts, among others.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tvm import tirx

from mlcweb.debug import CHOICE, logger
from mlcweb.kernels import software
from mlcweb.kernels.attention import decode as attention_decode
from mlcweb.kernels.attention import prefill as attention_prefill
from mlcweb.kernels.attention.scoring import Scoring
from mlcweb.kernels.attention.to_ends import flash_attention_to_ends
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.experts.weights import ChosenExperts, ExpertRange
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.pieces import Piece
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.norms import norm as norm_
from mlcweb.kernels.products import matmul as matmul_
from mlcweb.kernels.products import matvec as matvec_
from mlcweb.kernels.products.matmul import Tile
from mlcweb.kernels.products.matvec import Norm, Vectors
from mlcweb.kernels.products.outputs import NOTHING, Folded
from mlcweb.kernels.software.words import by_words
from mlcweb.quantize import Scheme


@dataclass(frozen=True)
class AttentionKernels:
    """Attention's kernels; ``attend`` divides the context into ``splits``, and ``appends`` says whether it appends
    the new key and value.
    """

    splits: int
    appends: Callable[[HeadLayout], bool]
    attend: Callable[..., tirx.PrimFunc]
    merge: Callable[[HeadLayout, Values | None], tirx.PrimFunc]
    flash_attention: Callable[[HeadLayout, Scoring, Values | None], tirx.PrimFunc]
    flash_attention_to_ends: Callable[[HeadLayout, Scoring, Values | None], tirx.PrimFunc]


_SOFTWARE = AttentionKernels(
    software.attention.SPLITS,
    software.attention.appends,
    software.attention.attend,
    software.attention.merge,
    software.attention.flash_attention,
    software.attention.flash_attention_to_ends,
)
_GENERAL = AttentionKernels(
    attention_decode.SPLITS,
    attention_decode.appends,
    attention_decode.attend,
    attention_decode.merge,
    attention_prefill.flash_attention,
    flash_attention_to_ends,
)


def _attention(tier: Tier) -> AttentionKernels:
    return _SOFTWARE if tier.software else _GENERAL


_log = logger("kernels.choose")


def uses_block_order(tier: Tier) -> bool:
    """Whether decode's vectors are in block order. On a CPU they are not: its lanes take a row each."""
    return not tier.software


def has_int8(scheme: Scheme, tier: Tier) -> bool:
    """Whether prefill can also take int8 activations, whose groups must fit the weights' groups."""
    return scheme.fits_tiles and not tier.software


def has_matrix(scheme: Scheme, tier: Tier) -> bool:
    """Whether prefill can also be on subgroup matrices: the weights must fit their tiles, and the tier must be the
    best with subgroups that the scheme has.

    The products multiply in float16. A device without shader-f16 cannot run them, so lesser tiers need none.
    """
    best = tier.f16 or not scheme.float16
    return scheme.fits_tiles and tier.subgroups and best and not tier.software


def matvec(
    weight: WholeMatrix,
    tier: Tier,
    *,
    norm: Norm | None = None,
    folded: Folded = NOTHING,
    vectors: Vectors = Vectors(),  # noqa: B008 (it is frozen)
    experts: ChosenExperts | None = None,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """``products.matvec``; block order only where the tier has it."""
    if _by_words("matvec", weight, tier, experts):
        last_row = vectors.last_row
        return software.matvec.matvec(weight, norm=norm, folded=folded, last_row=last_row, piece=piece)
    if not uses_block_order(tier):
        vectors = replace(vectors, x_block_order=False, y_block_order=False)
    return matvec_.matvec(
        weight, tier, norm=norm, folded=folded, vectors=vectors, experts=experts, piece=piece
    )


def matmul(
    weight: WholeMatrix,
    tier: Tier,
    *,
    folded: Folded = NOTHING,
    tile: Tile | None = None,
    experts: ExpertRange | None = None,
    from_pairs: bool = False,
    piece: Piece | None = None,
) -> tirx.PrimFunc:
    """``products.matmul``."""
    if _by_words("matmul", weight, tier, experts):
        return software.matmul.matmul(weight, folded=folded, piece=piece)
    return matmul_.matmul(
        weight, tier, folded=folded, tile=tile, experts=experts, from_pairs=from_pairs, piece=piece
    )


def _by_words(
    product: str, weight: WholeMatrix, tier: Tier, experts: ChosenExperts | ExpertRange | None
) -> bool:
    """Whether a product is one of ``kernels.software``."""
    taken = tier.software and experts is None and by_words(weight)
    if _log.isEnabledFor(CHOICE):
        stored = weight.form.name if isinstance(weight, GroupQuantized) else weight.dtype
        if not tier.software:
            why = "adapters of this tier are GPUs"
        elif taken:
            why = "adapters of this tier are CPUs, and codes are read a word at a time"
        elif experts is not None:
            why = "kernels for CPUs have no experts"
        else:
            why = f"kernels for CPUs do not read {stored}"
        package = "software" if taken else "products"
        _log.log(
            CHOICE,
            "tier %s: %s of %s [%d, %d]: %s.%s, since %s",
            *(tier.name, product, stored, weight.rows, weight.columns, package, product, why),
        )
    return taken


def has_few(scheme: Scheme, tier: Tier) -> bool:
    """Whether there is a prefill for few tokens. On a CPU steps are as fast."""
    return not tier.software


def normalize(
    norm: Norm,
    tier: Tier,
    *,
    decode: bool = False,
    residual: bool = False,
    last_row: bool = False,
    to_block_order: bool = False,
    scale: Values | None = None,
) -> tirx.PrimFunc:
    """``norms.norm.normalize``; decode's vectors are in block order where the tier has it."""
    if tier.software:
        return software.norm.normalize(norm, decode=decode, residual=residual, last_row=last_row, scale=scale)
    order = {"block_order": decode, "to_block_order": to_block_order}
    return norm_.normalize(
        norm, tier, decode=decode, residual=residual, last_row=last_row, scale=scale, **order
    )


def splits(tier: Tier) -> int:
    """How many splits ``attend`` makes of the context."""
    return _attention(tier).splits


def appends_before(layout: HeadLayout, tier: Tier) -> bool:
    """Whether decode's new key and value are to be in the KV cache before ``attend``."""
    return layout.appends and not _attention(tier).appends(layout)


def attend(
    layout: HeadLayout, context: int, scoring: Scoring, tier: Tier, *, shifted: bool = False
) -> tirx.PrimFunc:
    """Decode's attention, a split of the context a workgroup."""
    return _attention(tier).attend(layout, context, scoring, shifted=shifted)


def merge(layout: HeadLayout, tier: Tier, sinks: Values | None = None) -> tirx.PrimFunc:
    """Merges the splits' results."""
    return _attention(tier).merge(layout, sinks)


def flash_attention(
    layout: HeadLayout, scoring: Scoring, tier: Tier, sinks: Values | None = None, *, to_ends: bool = False
) -> tirx.PrimFunc:
    """Prefill's attention; ``to_ends``: each token sees up to an end of its own."""
    kernels = _attention(tier)
    return (kernels.flash_attention_to_ends if to_ends else kernels.flash_attention)(layout, scoring, sinks)

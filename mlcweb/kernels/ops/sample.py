"""Penalizes tokens, forbids tokens by a mask, samples one, and counts it."""

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.ops.launch import launch
from mlcweb.kernels.vocabulary.mask import mask_logits
from mlcweb.kernels.vocabulary.penalties import count_token, penalize_logits
from mlcweb.kernels.vocabulary.sampling import pick, scan


def penalize(logits: Tensor, sampling: Tensor, counts: Tensor) -> Tensor:
    """Make the tokens of ``counts`` less likely, in place; returns the logits."""
    given = {"sampling": sampling, "counts": counts, "logits": logits}
    return launch("penalize", "penalize", penalize_logits(int(logits.shape[1])), given)["logits"]


def count(state: Tensor, counts: Tensor) -> Tensor:
    """Count the token in ``state``, in place; returns the counts."""
    kernel = count_token(int(counts.shape[0]))
    return launch("count", "count", kernel, {"state": state, "counts": counts})["counts"]


def mask(logits: Tensor, mask: Tensor) -> Tensor:
    """Forbid the tokens that ``mask`` has no bit for, in place; returns the logits."""
    return launch("mask", "mask", mask_logits(int(logits.shape[1])), {"mask": mask, "logits": logits})[
        "logits"
    ]


def sample(logits: Tensor, sampling: Tensor, state: Tensor) -> Tensor:
    """Choose a token from ``logits`` and advance ``state``, in place; returns the state."""
    vocab, given = int(logits.shape[1]), {"logits": logits, "sampling": sampling, "state": state}
    best = launch("sample", "scan", scan(vocab), given)
    return launch("sample", "pick", pick(vocab), {**given, **best})["state"]

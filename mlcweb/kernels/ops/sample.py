"""Forbids tokens by a mask, and samples one."""

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.ops.launch import launch
from mlcweb.kernels.vocabulary.mask import mask_logits
from mlcweb.kernels.vocabulary.sampling import pick, scan


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

"""The choice of a token."""

from tvm.relax.frontend.nn import Tensor, op

from mlcweb.contract.constants import State
from mlcweb.kernels.vocabulary import sampling


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
        Tensor.placeholder((State.WORDS,), "int32"),
    )

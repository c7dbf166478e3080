"""The choice of a token."""

from tvm.relax.frontend.nn import Tensor, op

from mlcweb.kernels.vocabulary import sampling as kernels


def sample(logits: Tensor, sampling: Tensor, state: Tensor) -> Tensor:
    """Choose a token from ``logits`` and advance ``state``, in place; returns the state."""
    vocab = int(logits.shape[1])
    blocks = kernels.blocks(vocab)
    ids, scores = op.tensor_ir_op(
        kernels.scan(vocab),
        "sample_scan",
        [logits, sampling, state],
        [Tensor.placeholder((blocks,), "int32"), Tensor.placeholder((blocks, 2), "float32")],
    )
    return op.tensor_ir_inplace_op(
        kernels.pick(vocab),
        "sample_pick",
        [logits, sampling, ids, scores, state],
        [4],
        Tensor.placeholder((8,), "int32"),
    )

"""What a kernel reads of what it binds, and how many weights that is; the plan says so, for the profiler."""

from tvm import tirx

from mlcweb.kernels.attention.scores import Scores
from mlcweb.kernels.experts.weights import Part
from mlcweb.kernels.layouts.storage import Values, WholeMatrix

# the PrimFunc's attributes
READS = "mlcweb.reads"
WEIGHTS = "mlcweb.weights"


def reads_window(kernel: tirx.PrimFunc, how: Scores) -> tirx.PrimFunc:
    """``kernel``, which reads the KV cache's last ``how.window`` tokens of each query, or all of them."""
    return kernel if how.window is None else kernel.with_attr(READS, {"window": how.window})


def reads_experts(kernel: tirx.PrimFunc, part: Part) -> tirx.PrimFunc:
    """``kernel``, which reads the experts in ``part`` that a token chose."""
    return kernel.with_attr(READS, {"experts": part.experts, "choices": part.choices})


def reads_weights(kernel: tirx.PrimFunc, matrix: WholeMatrix | Values) -> tirx.PrimFunc:
    """``kernel``, whose matrix is this."""
    return kernel.with_attr(WEIGHTS, matrix.rows * matrix.columns)

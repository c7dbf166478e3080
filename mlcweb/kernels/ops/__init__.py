"""The kernels as operations of an nn model: ``Decode`` works on one token, ``Prefill`` on a chunk of n.

Both have the same methods, so a model is written once; each method is one or two launches. ``reference.ops`` has them
too, in numpy.
"""

from mlcweb.kernels.ops.decode import Decode
from mlcweb.kernels.ops.prefill import Prefill
from mlcweb.kernels.ops.prefill_int8 import PrefillInt8
from mlcweb.kernels.ops.prefill_matrix import PrefillMatrix
from mlcweb.kernels.ops.sample import sample
from mlcweb.kernels.ops.shared import Ops, Rope

__all__ = ["Decode", "Ops", "Prefill", "PrefillInt8", "PrefillMatrix", "Rope", "sample"]

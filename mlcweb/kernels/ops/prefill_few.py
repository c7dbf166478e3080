"""Launches the operations on a few tokens, such as those that a constraint forces, with decode's products."""

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.choice import choose
from mlcweb.kernels.layouts.pieces import Matrix, pieces
from mlcweb.kernels.ops.prefill import Prefill
from mlcweb.kernels.products.matvec import Norm, Vectors
from mlcweb.kernels.products.outputs import Folded


class PrefillFew(Prefill):
    """As ``Prefill``, with a matrix-vector product for each token: tiles of many rows would be nearly empty.

    What a norm or the MLP's first product leaves for the next product is in block order, as that reads it fastest.
    """

    _hidden: Tensor | None = None  # what the MLP's first product made last

    def _product(
        self,
        name: str,
        x: Tensor,
        weight: Matrix,
        norm: Norm | None,
        folded: Folded,
        other: Tensor | None,
        *,
        rows: bool = False,
    ) -> Tensor:
        in_order = norm is not None or x is self._hidden
        if norm is not None:
            kernel = self.kernel(choose.normalize, norm, self.tier, to_block_order=True)
            x = self.launch("norm", kernel, way="few", x=x, norm=norm.weight, bias=norm.bias)["y"]
        hidden = folded.gated or folded.activation is not None or name.endswith("_up")
        if folded.joined == "multiplied":
            hidden = other is self._hidden  # a factor that is in its own order
        vectors, y = Vectors(x_block_order=in_order, y_block_order=hidden, each_row=True), None
        for w, piece in pieces(weight):
            kernel = self.kernel(choose.matvec, w, self.tier, folded=folded, vectors=vectors, piece=piece)
            y = self.launch(name, kernel, way="few", x=x, w=w, bias=folded.bias, residual=other, y=y)["y"]
        if hidden:
            self._hidden = y
        return y

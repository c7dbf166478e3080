"""Builds an entry's launch table as a host function of its dynamic sizes."""

from typing import Any

from tvm import tirx

from mlcweb.errors import CompileError
from mlcweb.kernels.language.builder import KernelBuilder, kernel, u32
from mlcweb.lower.wgsl import MAX_GRID
from mlcweb.plan import Entry, Plan
from mlcweb.plan.sizes import substitute


@kernel
def launch_table(plan: Plan, entry: Entry, largest: dict[str, int]) -> tirx.PrimFunc:
    """``void f(int32 dims…, uint32* table)``: a record per launch: grid x, y, z, then the kernel's uniform words.

    ``largest`` bounds the dims; raises CompileError for a grid beyond WebGPU's 65535 workgroups a dimension.
    """
    words = plan.record_words(entry)
    builder = KernelBuilder("launch_table")
    dims = {name: builder.scalar(name) for name in entry.dims}
    pointer = builder.pointer("table", "uint32")
    table = builder.at(pointer, (words * len(entry.launches),), "uint32")
    for i, launch in enumerate(entry.launches):
        kernel = plan.kernels[launch.kernel]
        own = {name: substitute(value, dims) for name, value in launch.sizes}
        most = {name: substitute(value, largest) for name, value in launch.sizes}
        grid = [*kernel.grid, *[1] * (3 - len(kernel.grid))]
        for extent in grid:
            if not plan.tier.cpu and substitute(extent, {**largest, **most}) > MAX_GRID:
                raise CompileError(f"kernel {kernel.name} needs a grid of {extent}, over WebGPU's {MAX_GRID}")
        # TVM's packGridDimX, the uniform's last word, is the grid's x as long as that fits in one dimension
        for j, value in enumerate([*grid, *kernel.scalars, grid[0]]):
            builder.store(table, i * words + j, _word(substitute(value, {**dims, **own})))
    return builder.finish()


def _word(value: Any) -> Any:
    return u32(int(value)) if isinstance(value, (int, tirx.IntImm)) else u32(tirx.Cast("int32", value))

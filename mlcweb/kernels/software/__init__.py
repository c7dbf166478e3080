"""Kernels for adapters that are a CPU, such as SwiftShader, which JIT-compiles a shader to SIMD of four lanes.

There a load costs as much as forty arithmetic instructions, whatever its pattern (each lane's address is checked and
fetched alone), barriers cost more, and code that leaves the instruction cache halves the speed. So: four neighbouring
threads, a quad, share their loads, and pass values on by quad operations; loops are short; there is no workgroup
memory. Nothing depends on the subgroup's size, which may be anything from 4.
"""

from mlcweb.kernels.software import attention, matmul, matvec, norm

__all__ = ["attention", "matmul", "matvec", "norm"]

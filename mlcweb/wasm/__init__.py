"""Compiles a model's CPU part, launch tables and the host sampler, to one WebAssembly module, and kernels to others.

TIR → LLVM's wasm32 backend (in TVM's wheel) → ziglang's wasm-ld. No imports, no emscripten.
"""

from mlcweb.wasm.module import build_cpu_module, build_wasm, compile_tables, link_model

__all__ = ["build_cpu_module", "build_wasm", "compile_tables", "link_model"]

"""The part of a model that runs on the CPU: launch tables and the host sampler, as one WebAssembly module.

TIR → LLVM's wasm32 backend (in TVM's wheel) → ziglang's wasm-ld. No imports, no emscripten.
"""

from mlcweb.wasm.module import build_wasm, compile_tables, link_model

__all__ = ["build_wasm", "compile_tables", "link_model"]

"""Makes a small bundle that stands for every model: a vocabulary as large as a real one's, and quick on a CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.browser import mini_bundle

# Apps bias and forward tokens of real vocabularies.
VOCABULARY = 131072
PAGES = 1024  # 8192 tokens of context


def write_model(folder: Path) -> Path:
    """The tests' bundle made by hand, with more tokens, which are never chosen, and more context."""
    before = {name: getattr(mini_bundle, name) for name in ("VOCAB", "CHUNK", "KERNELS", "HOST")}
    groups = VOCABULARY // 64
    early = f"if (id.x >= 260u) {{ if (id.x < {VOCABULARY}u) {{ logits[id.x] = -1e30; }} return; }}"
    kernels = before["KERNELS"].replace("if (id.x >= 260u) { return; }", early)
    kernels = kernels.replace("id.x < 260u && ((words", f"id.x < {VOCABULARY}u && ((words")
    host = before["HOST"].replace("5, 5, 0)", f"{groups}, {groups}, 0)")
    try:
        vars(mini_bundle).update(VOCAB=VOCABULARY, CHUNK=1 << 20, KERNELS=kernels, HOST=host)
        mini_bundle.wasm.cache_clear()
        return _Model(pages=PAGES).write(folder)
    finally:
        vars(mini_bundle).update(before)
        mini_bundle.wasm.cache_clear()


class _Model(mini_bundle.Mini):
    """As its kernels compute it."""

    def logits(self, tokens: list[int]) -> np.ndarray:
        total = 0
        for p, token in enumerate(tokens):
            total = (total + (token + 1) * (p + 1)) % mini_bundle.MODULUS
        out = np.full(VOCABULARY, -1e30, np.float32)
        out[:260] = self.bias[(np.arange(260) + total) % 260]
        out[self.next[total % mini_bundle.TABLE]] += 8
        return out * np.float32(self.scale[2])

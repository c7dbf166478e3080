"""Writes a GGUF file of a real model's shape, whose matrices are of one type with random bits.

    python -m bench.random_gguf llama-3.2-1b Q4_K /tmp/llama-1b-Q4_K.gguf

As in ``random_checkpoint``, the weights repeat one block, so that a bundle of them compresses well.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.random_checkpoint import SHAPES
from bench.synthetic.gguf_llama import write_random_gguf
from bench.synthetic.gguf_types import QUANTIZED

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("kind", choices=QUANTIZED)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    write_random_gguf(arguments.path, SHAPES[arguments.shape], lambda _: arguments.kind)
    print(arguments.path)

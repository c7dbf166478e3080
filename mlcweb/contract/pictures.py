"""Makes a tile's patches, and the words that stand for a picture in a prompt, as the engine does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlcweb.contract.manifest import ImageFacts

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]


def sample_tile(facts: ImageFacts) -> U8:
    """Pixels ``[tile, tile, 3]`` that a bundle is checked with, which the engine makes too."""
    y, x, channel = np.meshgrid(*(np.arange(n) for n in (facts.tile, facts.tile, 3)), indexing="ij")
    return ((7 * x + 13 * y + x * y // 16 + 85 * channel) % 256).astype(np.uint8)


def patches_of(tile: U8, facts: ImageFacts) -> F32:
    """A tile's patches ``[n, 3 * patch * patch]`` in blocks of ``merge`` x ``merge``, normalized. What is left over of
    the tile to the right and below is not seen.
    """
    blocks = facts.tile // facts.patch // facts.merge
    seen = blocks * facts.merge * facts.patch
    values = (tile[:seen, :seen] / 255 - np.array(facts.mean)) / np.array(facts.std)
    parts = values.reshape(blocks, facts.merge, facts.patch, blocks, facts.merge, facts.patch, 3)
    ordered = parts.transpose(0, 3, 1, 4, 6, 2, 5)  # block, patch, channel, line, column
    patches: F32 = ordered.reshape((blocks * facts.merge) ** 2, -1).astype(np.float32)
    return patches


def words_of(facts: ImageFacts, lines: int = 0, columns: int = 0) -> str:
    """What stands for a picture in a prompt: of so many lines and columns of tiles, or of the whole alone."""
    rows = facts.row * (facts.tile // facts.patch // facts.merge) ** 2
    words, text = facts.prompt, ""
    for line in range(1, lines + 1):
        for column in range(1, columns + 1):
            text += words.tile.replace("{row}", str(line)).replace("{column}", str(column)) + rows
        text += words.row_end
    return f"{text}{words.before_whole if lines else ''}{words.whole}{rows}{words.end}"

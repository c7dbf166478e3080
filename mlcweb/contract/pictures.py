"""Makes a picture's patches, the words that stand for it in a prompt, and its places there, as the engine does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlcweb.contract.manifest import ImageFacts

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
Size = tuple[int, int]  # lines and columns

# of the picture that a bundle is checked with, where it has no tiles: more than a window has beside each other
SAMPLE_ROWS: Size = (2, 5)


def sample_size(facts: ImageFacts) -> Size:
    """Pixels below and beside each other of the picture, or the tile, that a bundle is checked with."""
    if facts.tile is not None:
        return facts.tile, facts.tile
    lines, columns = SAMPLE_ROWS
    return lines * facts.merge * facts.patch, columns * facts.merge * facts.patch


def sample_picture(size: Size) -> U8:
    """Pixels ``[*size, 3]`` by a formula that the engine has too."""
    y, x, channel = np.meshgrid(*(np.arange(n) for n in (*size, 3)), indexing="ij")
    return ((7 * x + 13 * y + x * y // 16 + 85 * channel) % 256).astype(np.uint8)


def rows_of(size: Size, facts: ImageFacts) -> Size:
    """Rows of the model, below and beside each other, that a picture or a tile of so many pixels becomes."""
    lines, columns = (side // facts.patch // facts.merge for side in size)
    return lines, columns


def most_patches(facts: ImageFacts) -> int:
    """That a call of the tower takes: those of a tile, or of the largest picture."""
    if facts.tile is not None:
        return (facts.tile // facts.patch) ** 2
    most = facts.pixels.most if facts.pixels is not None else 0
    return most // (facts.patch * facts.merge) ** 2 * facts.merge**2


def patches_of(picture: U8, facts: ImageFacts) -> F32:
    """The patches ``[n, 3 * patch * patch]`` of a picture, or a tile, in blocks of ``merge`` x ``merge``, normalized.
    What is left over to the right and below is not seen.
    """
    lines, columns = rows_of((picture.shape[0], picture.shape[1]), facts)
    block = facts.merge * facts.patch
    seen = picture[: lines * block, : columns * block]
    values = (seen / 255 - np.array(facts.mean)) / np.array(facts.std)
    parts = values.reshape(lines, facts.merge, facts.patch, columns, facts.merge, facts.patch, 3)
    ordered = parts.transpose(0, 3, 1, 4, 6, 2, 5)  # block, patch, channel, line, column
    blocks = ordered.reshape(lines * columns, facts.merge**2, -1)[block_order((lines, columns), facts.window)]
    patches: F32 = blocks.reshape(lines * columns * facts.merge**2, -1).astype(np.float32)
    return patches


def block_order(size: Size, window: int | None) -> I64:
    """Which row of a picture of ``size`` rows, line by line, is in each place: window by window, of so many rows a
    side, if there are windows.
    """
    lines, columns = size
    places = np.arange(lines * columns).reshape(size)
    if window is None:
        return places.reshape(-1)
    tops, lefts = (range(0, side, window) for side in size)
    return np.concatenate(
        [places[top : top + window, left : left + window].reshape(-1) for top in tops for left in lefts]
    )


def windows_of(size: Size, merge: int, window: int) -> I64:
    """The first patch of each patch's window and that after its last, ``[n, 2]``, of a picture of ``size`` patches."""
    lines, columns = (side // merge for side in size)
    ends = [0]
    for top in range(0, lines, window):
        for left in range(0, columns, window):
            rows = min(window, lines - top) * min(window, columns - left)
            ends.append(ends[-1] + rows * merge**2)
    seen: I64 = np.repeat(np.stack([ends[:-1], ends[1:]], axis=1), np.diff(ends), axis=0)
    return seen


def spots_of(size: Size, merge: int, window: int | None = None) -> I64:
    """Where each patch of a picture of ``size`` patches is (``Spot``), ``[n, 4]``; blocks of ``merge`` x ``merge`` are
    together, in ``block_order``.
    """
    lines, columns = size
    line, column = np.meshgrid(np.arange(lines), np.arange(columns), indexing="ij")
    blocks = (lines // merge, merge, columns // merge, merge)
    order = block_order((lines // merge, columns // merge), window)
    places = [place.reshape(blocks).swapaxes(1, 2).reshape(-1, merge**2) for place in (line, column)]
    ordered = [place[order].reshape(-1) for place in places]
    spots: I64 = np.stack([*ordered, *(np.full(lines * columns, side) for side in size)], axis=1)
    return spots


def axes_of(tokens: Sequence[int], row: int, pictures: Sequence[Size]) -> I64:
    """Where each token is for RoPE (``Axes``), ``[T, 3]``; the token ``row`` stands for a row of one of ``pictures``,
    of so many lines and columns of rows.

    A picture's rows are at one time, and as far below and beside each other as they lie. What follows is after the
    largest of these (https://arxiv.org/abs/2409.12191).
    """
    axes, at, token, shapes = np.zeros((len(tokens), 3), np.int64), 0, 0, iter(pictures)
    while token < len(tokens):
        if tokens[token] != row:
            axes[token] = at
            at, token = at + 1, token + 1
            continue
        lines, columns = next(shapes)
        places = np.stack(np.divmod(np.arange(lines * columns), columns), axis=1)
        axes[token : token + len(places)] = at
        axes[token : token + len(places), 1:] += places
        at, token = at + max(lines, columns), token + len(places)
    return axes


def words_of(facts: ImageFacts, lines: int = 0, columns: int = 0, *, size: Size | None = None) -> str:
    """What stands for a picture in a prompt: of so many lines and columns of tiles, or of the whole alone, which has
    ``size`` pixels if it is no tile.
    """
    across, down = rows_of(sample_size(facts) if size is None else size, facts)
    rows, words, text = facts.row * (across * down), facts.prompt, ""
    for line in range(1, lines + 1):
        for column in range(1, columns + 1):
            text += words.tile.replace("{row}", str(line)).replace("{column}", str(column)) + rows
        text += words.row_end
    return f"{text}{words.before_whole if lines else ''}{words.whole}{rows}{words.end}"

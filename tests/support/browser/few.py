"""Tokens fed together by the entry for few, as those that a constraint forces, against the same fed one by one."""

from __future__ import annotations

import numpy as np

from tests.support.browser.model_page import ModelPage

PROMPT, NEXT = 14, 5


def few_error(page: ModelPage, vocab: int, counts: tuple[int, ...] = (3, 7, 12)) -> float:
    """The largest difference of the logits after them, in parts of their range. With 7 they pass a page's end."""
    tokens, worst = np.random.default_rng(5).integers(5, vocab, PROMPT + max(counts)).tolist(), 0.0
    for count in counts:
        fed = tokens[PROMPT : PROMPT + count]
        expected = np.array(page.right("replay", tokens[:PROMPT], [*fed, NEXT])["steps"][-1])
        actual = np.array(page.right("feedFew", tokens[:PROMPT], fed, NEXT)["logits"])
        worst = max(
            worst, float(np.nan_to_num(np.abs(actual - expected).max() / np.ptp(expected), nan=np.inf))
        )
    return worst

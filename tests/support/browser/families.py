"""Every logit of a bundle against transformers': a fixture's checkpoint compiled, loaded and fed in a browser.

Bundles are measured by processes that have a browser each, since a software adapter makes one pipeline at a time and
that is most of the work.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path

import numpy as np

from mlcweb.compile import CompileRequest, compile_bundle
from tests.fixtures.models.case import CHUNK, CONTEXT, PROMPT, STEPS
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.fixtures.models.expected import load
from tests.support.browser.model_page import ModelPage, Site, open_model_page, serve_site

# (tokens of a prompt, tokens then fed one by one, up to this): each position's logits once, those after 1, 18 and 40
# tokens of prefill. The prompt of 40 takes three chunks, of which the last is short.
REPLAYS = ((1, 17), (18, PROMPT), (PROMPT, PROMPT + STEPS))


@dataclass(frozen=True)
class Found:
    """``error`` is the largest |difference| in parts of its position's range of logits, infinite for NaN."""

    error: float
    position: int
    greedy: list[int]


@dataclass
class Measuring:
    """A page, on a site for the bundles of cases whose ``checkpoints`` are in a folder."""

    site: Site
    page: ModelPage
    checkpoints: Path
    tier: str

    def measure(self, name: str, scheme: str, activations: str = "float") -> Found:
        """A case's bundle of one tier, made, loaded and fed, and removed again."""
        served = f"{name}-{scheme}"
        bundle = self.site.folder / served
        checkpoint = self.checkpoints / name
        if not checkpoint.exists():
            make_checkpoint(checkpoint, BY_NAME[name])
        request = CompileRequest(
            str(checkpoint), quantization=scheme, out_dir=bundle, name=served, context_length=CONTEXT,
            prefill_chunk=CHUNK, tiers=(self.tier,), scales="mlc",  # which transformers' weights were rounded by
            images=False,  # tests/browser/test_images.py has the towers
        )  # fmt: skip
        compile_bundle(request)
        self.page.load(served, tier=self.tier, activations=activations)
        found = self.compare(name, scheme)
        shutil.rmtree(bundle)
        return found

    def compare(self, name: str, scheme: str) -> Found:
        expected = load(BY_NAME[name], scheme)
        errors = np.zeros(len(expected.tokens))
        for prompt, end in REPLAYS:
            steps = self.page.right("replay", expected.tokens[:prompt], expected.tokens[prompt:end])["steps"]
            expected_logits = expected.logits[prompt - 1 : end]
            actual = np.array(steps, np.float64).reshape(expected_logits.shape)
            parts = np.abs(actual - expected_logits).max(axis=1) / np.ptp(expected_logits, axis=1)
            errors[prompt - 1 : end] = np.maximum(errors[prompt - 1 : end], np.nan_to_num(parts, nan=np.inf))
        greedy = self.page.right("greedy", expected.tokens[:PROMPT], STEPS + 1)["tokens"]
        return Found(float(errors.max()), int(errors.argmax()), greedy)


_worker: Measuring | None = None  # of a process, kept between bundles


def _start(chromium: Path, folder: Path, tier: str) -> None:
    global _worker
    stack = ExitStack()
    Finalize(None, stack.close, exitpriority=10)  # a process of a pool ends without running what atexit knows
    mine = folder / multiprocessing.current_process().name
    (mine / "site").mkdir(parents=True)
    site = stack.enter_context(serve_site(mine / "site"))
    page = stack.enter_context(open_model_page(chromium, site))
    _worker = Measuring(site, page, mine / "checkpoints", tier)


def _measure(name: str, scheme: str) -> Found:
    assert _worker is not None
    return _worker.measure(name, scheme)


@contextmanager
def measured(
    wanted: Iterable[tuple[str, str]],
    chromium: Path,
    folder: Path,
    *,
    tier: str = "software",
    processes: int = 2,
) -> Iterator[dict[tuple[str, str], Future[Found]]]:
    """What becomes of each (case's name, scheme), worked on in that order; what is left at the end is dropped."""
    context = multiprocessing.get_context("spawn")  # playwright and TVM have threads, which a fork would not
    pool = ProcessPoolExecutor(processes, context, _start, (chromium, folder, tier))
    try:
        yield {key: pool.submit(_measure, *key) for key in wanted}
    finally:
        pool.shutdown(cancel_futures=True)

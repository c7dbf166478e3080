"""The progress bar given to huggingface_hub, driven as its own download code drives it."""

from types import SimpleNamespace

import pytest
from huggingface_hub.utils import tqdm

from mlcweb.progress import SilentProgress
from mlcweb.sources.hub.download_bar import forward_bytes


class Counting(SilentProgress):
    done = 0

    def advance(self, amount):
        assert amount > 0
        self.done += amount


def test_plain_download_counts_what_was_there_and_what_came(capfd):
    progress = Counting()
    with forward_bytes(progress, 100)(
        total=100, initial=30, desc="x", unit="B", name="any", disable=None
    ) as bar:
        assert isinstance(bar, tqdm)
        bar.update(20)
        assert (progress.done, bar.n) == (50, 50)
        bar.update(50)
        bar.set_postfix_str("1 MB/s", refresh=True)
    assert progress.done == 100
    assert capfd.readouterr() == ("", "")


def test_a_download_that_starts_over_is_counted_once():
    progress = Counting()
    bars = forward_bytes(progress, 100)
    bars(total=100).update(60)
    again = bars(total=100)
    again.update(40)
    assert progress.done == 60
    again.update(70)
    assert progress.done == 100


def test_xet_has_two_bars_for_one_file():
    reporting = pytest.importorskip("huggingface_hub.utils._xet_progress_reporting")
    if not hasattr(reporting, "XetDownloadProgressReporter"):
        pytest.skip("this huggingface_hub reports Xet downloads otherwise")
    progress = Counting()
    reporter = reporting.XetDownloadProgressReporter(
        reconstruction_desc="x", total=100, log_level=20, tqdm_class=forward_bytes(progress, 100)
    )
    with reporter:
        for received, written in [(40, 0), (80, 40), (90, 100)]:
            reporter.update_progress(
                SimpleNamespace(
                    total_bytes=100,
                    total_bytes_completed=written,
                    total_transfer_bytes_completed=received,
                    total_bytes_completion_rate=1.0,
                    total_transfer_bytes_completion_rate=None,
                )
            )
    assert progress.done == 100

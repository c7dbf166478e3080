"""Runs the float model on a text on the host: what its matrices multiply there decides how they are rounded."""

from collections.abc import Sequence

from mlcweb.calibrate.fold import folded
from mlcweb.calibrate.run import measure
from mlcweb.calibrate.text import FEWEST_TOKENS, Text, own_text, read_text
from mlcweb.models import Decoder
from mlcweb.progress import Progress
from mlcweb.quantize import Scheme
from mlcweb.quantize.searched import Calibration
from mlcweb.reference.checkpoint_weights import CheckpointWeights
from mlcweb.sources import Checkpoint


def calibrate(
    checkpoint: Checkpoint,
    model: Decoder,
    scheme: Scheme,
    tokens: Sequence[int],
    context: int,
    *,
    start: Sequence[int] = (),
    progress: Progress | None = None,
) -> Calibration:
    """For ``quantize_params``: what the model's run on ``tokens`` (``measure``) says of each parameter in a scheme."""
    measured = measure(checkpoint, model, tokens, context, start=start, progress=progress)
    params = model.params()
    return folded(measured, CheckpointWeights(checkpoint, params), params, scheme)


__all__ = ["FEWEST_TOKENS", "Text", "calibrate", "own_text", "read_text"]

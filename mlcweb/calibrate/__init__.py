"""What a model's matrices multiply: mean squares of their inputs, from the float model run on a text on the host."""

from mlcweb.calibrate.run import calibrate
from mlcweb.calibrate.text import FEWEST_TOKENS, Text, own_text, read_text

__all__ = ["FEWEST_TOKENS", "Text", "calibrate", "own_text", "read_text"]

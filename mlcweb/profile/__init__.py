"""Where a step's time goes, as the engine's profiler measured it: read, told as a table, drawn as a timeline."""

from mlcweb.profile.picture import draw
from mlcweb.profile.report import Profile, read_profile
from mlcweb.profile.table import COLUMNS, facts, headline, kernel_rows

__all__ = ["COLUMNS", "Profile", "draw", "facts", "headline", "kernel_rows", "read_profile"]

"""Reads the engine's profile, which says where a step's time goes, and shows it as a table or a timeline."""

from mlcweb.profile.picture import draw
from mlcweb.profile.report import Profile, read_profile
from mlcweb.profile.table import COLUMNS, facts, headline, kernel_rows

__all__ = ["COLUMNS", "Profile", "draw", "facts", "headline", "kernel_rows", "read_profile"]

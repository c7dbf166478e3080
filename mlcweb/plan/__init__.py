"""Planned module → plan: buffers, kernels and launches as data, with the launch tables' expressions.

``docs/bundle-format.md`` is the format; ``memory`` says what a plan allocates.
"""

from mlcweb.plan.build import Buffer, Entry, Launch, Plan, build_plan

__all__ = ["Buffer", "Entry", "Launch", "Plan", "build_plan"]

"""Makes a plan of a planned module: buffers, kernels and launches as data, with expressions for the launch table.

``docs/bundle-format.md`` is the format; ``memory`` says what a plan allocates.
"""

from mlcweb.plan.build import KERNEL_MARK, Buffer, Entry, Launch, Plan, build_plan

__all__ = ["KERNEL_MARK", "Buffer", "Entry", "Launch", "Plan", "build_plan"]

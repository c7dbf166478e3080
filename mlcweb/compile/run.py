"""Compiles a request, unless its bundle is there and current."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path

from mlcweb.bundle import Manifest, Quality, open_bundle
from mlcweb.compile.decide import decide
from mlcweb.compile.dump import open_dump
from mlcweb.compile.job import Job
from mlcweb.compile.keep import has_types
from mlcweb.compile.lower import lower_tiers
from mlcweb.compile.request import CompileRequest, CompileResult
from mlcweb.compile.write import timed, write_bundle
from mlcweb.errors import BundleError, UnsupportedError
from mlcweb.evaluate.quality import quality_warning
from mlcweb.progress import Progress, SilentProgress


def compile_bundle(
    request: CompileRequest, progress: Progress | None = None, job: Job | None = None
) -> CompileResult:
    """Compile, or find the current bundle, of which a dump is made all the same. ``job``: what was decided already.

    Raises an MlcwebError subclass; never leaves half a bundle or half a dump.
    """
    progress = progress or SilentProgress()
    start, stages = time.monotonic(), dict[str, float]()
    with ExitStack() as stack:
        dump = stack.enter_context(open_dump(request.dump, force=request.force)) if request.dump else None
        with timed(stages, "open"):
            job = job or decide(request, progress)
            out_dir = request.out_dir or Path("dist") / job.name
            if request.dump and request.dump.resolve() == out_dir.resolve():
                raise UnsupportedError(
                    f"--dump {request.dump} is the bundle's folder", hint="Name another folder."
                )
            current = None if request.force else _current(out_dir, job)
        if current and dump:
            with timed(stages, "lower"):
                lower_tiers(job, progress, dump)
        manifest = current or write_bundle(job, out_dir, progress, stages, dump)
        if dump:
            dump.finish(open_bundle(out_dir))
    quality = manifest.quality
    return CompileResult(
        path=out_dir,
        name=job.name,
        bytes=sum(file.bytes for file in manifest.files.values()),
        seconds=time.monotonic() - start,
        peak_memory_bytes=_peak_memory(),
        stages=stages,
        reused=current is not None,
        quality=quality,
        warning=_warning(job, quality) if quality else None,
        task="embed" if manifest.embedding else "rerank" if manifest.reranking else "chat",
    )


def _warning(job: Job, quality: Quality) -> str | None:
    return quality_warning(quality, job.scheme, gguf=has_types(job.checkpoint))


def _current(out_dir: Path, job: Job) -> Manifest | None:
    """The manifest of a bundle that this job would make again, with every file there at its size."""
    try:
        manifest = open_bundle(out_dir).manifest
    except BundleError:
        return None
    if manifest.inputs != job.digest():
        return None
    whole = all(
        (out_dir / name).is_file() and (out_dir / name).stat().st_size == file.bytes
        for name, file in manifest.files.items()
    )
    return manifest if whole else None


def _peak_memory() -> int:
    """This process's peak resident memory in bytes (Linux counts in KiB, macOS in bytes); 0 where unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

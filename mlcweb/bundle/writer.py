"""Writes a bundle: builds it in a hidden folder beside its place, and puts it there in one move."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from mlcweb import __version__
from mlcweb.bundle import disk, replace
from mlcweb.bundle.manifest import (
    AnswerSyntax,
    EmbeddingFacts,
    FileEntry,
    GenerationDefaults,
    ImageFacts,
    Manifest,
    MemoryFacts,
    ModelFacts,
    Quality,
    RerankingFacts,
    TierFacts,
    TokenizerFiles,
    Weights,
)
from mlcweb.bundle.reader import Bundle
from mlcweb.bundle.stored import StoredWeights
from mlcweb.bundle.weights_writer import WeightsWriter
from mlcweb.contract.constants import HASH_DIGITS, MANIFEST_NAME, MAX_CHUNK_BYTES
from mlcweb.errors import BundleError


class BundleWriter:
    """A bundle in the making; use it as a context manager.

    Whatever ends the block before ``finish`` (an error, Ctrl-C, a full disk) deletes what was written and
    leaves an older bundle at ``out_dir`` untouched; ``finish`` replaces that one in a move.
    """

    def __init__(self, out_dir: Path, *, expected_bytes: int = 0, chunk_bytes: int = MAX_CHUNK_BYTES) -> None:
        """``expected_bytes`` is the bundle's size, if known: a disk that lacks it is refused early."""
        self.out_dir = Path(out_dir).resolve()
        self._expected = expected_bytes
        self._chunk_bytes = chunk_bytes
        self._folder = replace.partial_folder(self.out_dir)
        self._files: dict[str, FileEntry] = {}
        self._weights: Weights | None = None
        self._written = 0

    def __enter__(self) -> BundleWriter:
        """Raises BundleError when the output cannot be written or holds files that are not a bundle's."""
        with self._errors():
            replace.check_replaceable(self.out_dir)
            self.out_dir.parent.mkdir(parents=True, exist_ok=True)
            replace.recover(self.out_dir)
            free = shutil.disk_usage(self.out_dir.parent).free
            if self._expected > free:
                raise BundleError(
                    f"disk full: the bundle {self.out_dir} needs about {self._expected // 1_000_000 + 1} MB, "
                    f"{free // 1_000_000} MB are free",
                    hint="Free space there, or choose another output folder.",
                )
            self._folder.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_file(self, stem: str, suffix: str, data: bytes) -> str:
        """Write a file and return its name, ``<stem>.<first 8 hex digits of sha256>.<suffix>``.

        Raises BundleError when the disk is full or refuses, ValueError for an odd stem or suffix.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", stem) or not re.fullmatch(
            "[a-z0-9]+", suffix
        ):
            raise ValueError(f"{stem!r} and {suffix!r} make no file name of a bundle")
        digest = hashlib.sha256(data).hexdigest()
        name = f"{stem}.{digest[:HASH_DIGITS]}.{suffix}"
        self._write(name, data)
        self._files[name] = FileEntry(len(data), digest)
        return name

    def weights(self) -> WeightsWriter:
        """The streaming writer of the tensors; once per bundle."""
        if self._weights is not None:
            raise ValueError("the weights were already written")
        return WeightsWriter(
            self._folder, self._chunk_bytes, self._errors, self._add_chunk, self._close_weights
        )

    def stored_weights(self) -> StoredWeights:
        """The tensors just written, to read back (for the host reference) before the bundle is finished."""
        if self._weights is None:
            raise ValueError("the weights are not written yet")
        return StoredWeights(self._folder, self._weights, self._chunk_bytes)

    def finish(
        self,
        *,
        name: str,
        model: ModelFacts,
        tokenizer: TokenizerFiles,
        wasm: str,
        tiers: Sequence[TierFacts],
        memory: MemoryFacts,
        validation: str | None = None,
        config: str | None = None,
        quality: Quality | None = None,
        answers: AnswerSyntax | None = None,
        generation: GenerationDefaults | None = None,
        embedding: EmbeddingFacts | None = None,
        reranking: RerankingFacts | None = None,
        images: ImageFacts | None = None,
        inputs: str | None = None,
    ) -> Path:
        """Write the manifest and put the bundle in its place; returns that folder.

        Raises BundleError when the manifest or a plan is not valid (naming the field) or the disk refuses.
        """
        if self._weights is None:
            raise ValueError("a bundle needs weights")
        manifest = Manifest(
            name=name,
            created_by=f"mlcweb {__version__}",
            model=model,
            tokenizer=tokenizer,
            wasm=wasm,
            tiers=tuple(tiers),
            weights=self._weights,
            memory=memory,
            files=self._files,
            validation=validation,
            config=config,
            quality=quality,
            answers=answers,
            generation=generation,
            embedding=embedding,
            reranking=reranking,
            images=images,
            inputs=inputs,
        )
        text = manifest.to_json()
        Bundle(self._folder, Manifest.from_json(text)).check_tiers()
        self._write(MANIFEST_NAME, text)
        with self._errors():
            replace.check_replaceable(self.out_dir)
            disk.sync_folder(self._folder)
            replace.replace(self._folder, self.out_dir)
        return self.out_dir

    def _write(self, name: str, data: bytes) -> None:
        with self._errors(), open(self._folder / name, "wb", buffering=0) as file:
            disk.write_all(file, data)
            disk.sync_file(file)
        self._written += len(data)

    def _errors(self) -> AbstractContextManager[None]:
        return disk.bundle_errors(self.out_dir, self._expected, self._written)

    def _add_chunk(self, name: str, entry: FileEntry) -> None:
        self._files[name] = entry
        self._written += entry.bytes

    def _close_weights(self, weights: Weights) -> None:
        self._weights = weights

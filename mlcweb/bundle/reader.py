"""Opens a bundle, verifies it against its manifest, and reads its plans, kernels and tensors."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.bundle.check import decode_json
from mlcweb.bundle.manifest import FileEntry, Manifest, TierFacts
from mlcweb.bundle.plan_check import check_plan, check_plan_fits
from mlcweb.bundle.stored import StoredWeights
from mlcweb.bundle.validation_check import check_text_validation, check_validation
from mlcweb.bundle.wasm_exports import exported_functions
from mlcweb.contract.constants import MANIFEST_NAME, MAX_MANIFEST_BYTES
from mlcweb.contract.plan import Plan
from mlcweb.contract.text_validation import TextValidation
from mlcweb.contract.tiers import CPU_TIERS
from mlcweb.contract.validation import Validation
from mlcweb.errors import BundleError
from mlcweb.progress import Progress, SilentProgress

_READ_BYTES = 1 << 20
_KERNEL_LINE = re.compile(r"^//// kernel ([A-Za-z_][A-Za-z0-9_]*)$", re.MULTILINE | re.ASCII)
_AGAIN = "The bundle is damaged or incomplete: compile or download it again."


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its manifest is checked, its other files are checked when read or by ``verify``."""

    path: Path
    manifest: Manifest

    def verify(self, progress: Progress | None = None) -> None:
        """Compare every file's size and sha256 with the manifest; unlisted files are noted, not refused.

        Raises BundleError naming the first bad file.
        """
        progress = progress or SilentProgress()
        files = self.manifest.files
        progress.start("verifying", sum(entry.bytes for entry in files.values()), "bytes")
        for name, entry in files.items():
            self._verify_file(name, entry, progress)
        extra = sorted(item.name for item in self.path.iterdir() if item.name not in {*files, MANIFEST_NAME})
        if extra:
            progress.note(f"not part of the bundle: {', '.join(extra)}")

    def stored_weights(self) -> StoredWeights:
        """The bundle's tensors, by rows. Bytes are not hashed on the way: ``verify`` does that."""
        weights = self.manifest.weights
        return StoredWeights(self.path, weights, self.manifest.files[weights.chunks[0]].bytes)

    def tensor(self, name: str) -> npt.NDArray[np.generic]:
        """A whole tensor as a new array. Raises BundleError when it is missing or its weight chunk is cut short."""
        return self.stored_weights().tensor(name)

    def file(self, name: str) -> bytes:
        """A listed file's bytes, checked. Raises BundleError if missing or changed, KeyError if unlisted."""
        entry = self.manifest.files[name]
        self._check_size(name, entry)
        data = (self.path / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BundleError(f"{name}: its content differs from the manifest's sha256", hint=_AGAIN)
        return data

    def tier(self, name: str) -> TierFacts:
        """The tier of that name. Raises BundleError, naming those there are."""
        tier = self.manifest.tier(name)
        if tier is None:
            names = ", ".join(tier.name for tier in self.manifest.tiers)
            raise BundleError(f"the bundle has no tier {name!r}; it has {names}")
        return tier

    def config(self) -> dict[str, Any]:
        """``config`` of the checkpoint it was made from, and GGUF's ``types`` of its tensors where they were kept.

        Raises BundleError where the bundle has none, or no such objects.
        """
        name = self.manifest.config
        if name is None:
            raise BundleError(
                f"{self.path.name} does not hold its model's config.json, so the host cannot run it",
                hint="Compile it again with this mlcweb.",
            )
        try:
            document = json.loads(self.file(name))
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{name}: not valid JSON: {error}", hint=_AGAIN) from error
        if not isinstance(document, dict) or not all(
            isinstance(document.get(key, {}), dict) for key in ("config", "types")
        ):
            raise BundleError(f"{name}: holds no config", hint=_AGAIN)
        return {"config": {}, "types": {}, **document}

    def text_validation(self) -> TextValidation | None:
        """As ``validation``, of a model of whole texts."""
        file = self.manifest.validation
        if file is None or not self.of_texts:
            return None
        validation: TextValidation = decode_json(self.file(file), file, fractions=True)
        check_text_validation(validation, self.manifest, file)
        return validation

    @property
    def of_texts(self) -> bool:
        """Whether the model makes embeddings or scores of whole texts, and answers no prompts."""
        return bool(self.manifest.embedding or self.manifest.reranking)

    def validation(self) -> Validation | None:
        """The bundle's validation, checked, where it has one of answers. Raises BundleError naming the field."""
        file = self.manifest.validation
        if file is None or self.of_texts:
            return None
        validation: Validation = decode_json(self.file(file), file, fractions=True)
        check_validation(validation, self.manifest, file)
        return validation

    def plan(self, tier: str) -> Plan:
        """The tier's plan, checked against its schema, its own indices and the manifest.

        Raises BundleError naming the field.
        """
        file = self.tier(tier).plan
        plan: Plan = decode_json(self.file(file), file)
        check_plan(plan, tier, file)
        check_plan_fits(plan, self.manifest, file)
        return plan

    def kernels(self, tier: str) -> dict[str, str]:
        """WGSL by kernel name, in the file's order, each a shader module of its own; none of the CPU's tier.

        Raises BundleError.
        """
        file = self.tier(tier).kernels
        return {} if tier in CPU_TIERS else split_kernels(self.file(file), file)

    def kernel_names(self, tier: str) -> list[str]:
        """Names of a tier's kernels, in WGSL or in WebAssembly: the CPU's that both of its modules have.

        Raises BundleError.
        """
        facts = self.tier(tier)
        if tier not in CPU_TIERS:
            return list(self.kernels(tier))
        files = [facts.kernels, *([facts.relaxed] if facts.relaxed else [])]
        every, *others = (exported_functions(self.file(file), file) for file in files)
        return [name for name in every if all(name in names for names in others)]

    def check_tiers(self) -> None:
        """That every tier's plan is valid and its kernels file has each kernel of it. Raises BundleError."""
        for tier in self.manifest.tiers:
            kernels = self.kernel_names(tier.name)
            for kernel in self.plan(tier.name)["kernels"]:
                if kernel["name"] not in kernels:
                    raise BundleError(f"{tier.kernels}: lacks the kernel {kernel['name']} of {tier.plan}")

    def _check_size(self, name: str, entry: FileEntry) -> None:
        try:
            size = (self.path / name).stat().st_size
        except FileNotFoundError as error:
            raise BundleError(f"{name}: missing from {self.path}", hint=_AGAIN) from error
        except OSError as error:
            raise BundleError(f"{name}: cannot be read: {error.strerror}") from error
        if size != entry.bytes:
            raise BundleError(f"{name}: {size} bytes, the manifest says {entry.bytes}", hint=_AGAIN)

    def _verify_file(self, name: str, entry: FileEntry, progress: Progress) -> None:
        self._check_size(name, entry)
        digest = hashlib.sha256()
        try:
            with open(self.path / name, "rb") as file:
                while part := file.read(_READ_BYTES):
                    digest.update(part)
                    progress.advance(len(part))
        except OSError as error:
            raise BundleError(f"{name}: cannot be read: {error.strerror}") from error
        if digest.hexdigest() != entry.sha256:
            raise BundleError(f"{name}: its content differs from the manifest's sha256", hint=_AGAIN)


def open_bundle(path: Path) -> Bundle:
    """Open a bundle folder (or its mlcweb.json) and check the manifest; no other file is read.

    Raises BundleError when it is missing, damaged, or of another format version.
    """
    path = Path(path)
    folder = path.parent if path.name == MANIFEST_NAME else path
    file = folder / MANIFEST_NAME
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{file}: larger than any manifest")
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(
            f"{folder} is not a bundle: it has no {MANIFEST_NAME}", hint="mlcweb compile makes one."
        ) from error
    except OSError as error:
        raise BundleError(f"{file}: cannot be read: {error.strerror}") from error
    return Bundle(folder, Manifest.from_json(text))


def split_kernels(text: bytes, file: str) -> dict[str, str]:
    """The kernels of a ``.wgsl`` file, by the ``//// kernel <name>`` lines; each keeps its line.

    Raises BundleError naming ``file`` for text before the first kernel, a repeated name, or bytes not UTF-8.
    """
    try:
        source = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{file}: not UTF-8") from error
    starts = list(_KERNEL_LINE.finditer(source))
    if not starts or starts[0].start() != 0:
        raise BundleError(f"{file}: does not begin with a line `//// kernel <name>`")
    kernels: dict[str, str] = {}
    for i, match in enumerate(starts):
        end = starts[i + 1].start() if i + 1 < len(starts) else len(source)
        if match[1] in kernels:
            raise BundleError(f"{file}: the kernel {match[1]} occurs twice")
        kernels[match[1]] = source[match.start() : end]
    return kernels

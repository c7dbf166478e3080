"""Publishes bundles: hashed files first, then the manifests and the catalog, so that readers see whole models."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mlcweb.bundle import MANIFEST_NAME
from mlcweb.contract.catalog import CatalogModel
from mlcweb.contract.constants import CATALOG_NAME, MAX_CATALOG_BYTES, MAX_MANIFEST_BYTES
from mlcweb.errors import PublishError
from mlcweb.progress import Progress, SilentProgress
from mlcweb.publish.address import Address, read_address
from mlcweb.publish.bundle_files import open_local
from mlcweb.publish.catalog import catalog_model, merged
from mlcweb.publish.check_back import PublicReader, Reader, TargetReader, check_files, check_manifests
from mlcweb.publish.folder import FolderTarget
from mlcweb.publish.parallel import run_parallel
from mlcweb.publish.plan import Plan, check_replaceable, make_plan
from mlcweb.publish.prune import replaced_name, unused
from mlcweb.publish.request import PublishedBundle, PublishRequest, PublishResult
from mlcweb.publish.target import ASK_FIRST, Conflict, LocalFile, Target

_ROUNDS = 40


def open_target(address: Address, endpoint_url: str | None = None) -> Target:
    """Raises PublishError where a library or credentials are missing."""
    if address.kind == "folder":
        return FolderTarget(Path(address.place))
    if address.kind == "hf":
        from mlcweb.publish.hub import HubTarget

        return HubTarget(address)
    from mlcweb.publish.stores import open_store

    return open_store(address, endpoint_url)


def publish(
    request: PublishRequest, progress: Progress | None = None, target: Target | None = None
) -> PublishResult:
    """Publish the bundles of a request. ``target``: in place of the one that its address means.

    Raises PublishError, or BundleError for a damaged bundle; then readers see what they saw before.
    """
    progress = progress or SilentProgress()
    began = time.monotonic()
    address = read_address(request.target)
    bundles = [open_local(path) for path in request.bundles]
    names = [bundle.name for bundle in bundles]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise PublishError(f"two of the bundles are named {twice}", hint="Publish them one after the other.")
    models = [catalog_model(bundle) for bundle in bundles]
    target = target or open_target(address, request.endpoint_url)
    reader: Reader = TargetReader(target)
    if request.public_url:
        reader = PublicReader(request.public_url, progress.note)
    plans = [make_plan(target, address, bundle, force=request.force) for bundle in bundles]
    if request.dry_run:
        found = target.read(address.key(CATALOG_NAME), MAX_CATALOG_BYTES) if request.catalog else None
        new = merged(found, models, _catalog_name(address)) if request.catalog else None
        return _result(request, target, plans, request.catalog, new is not None, began)

    if isinstance(target, FolderTarget):
        for plan in plans:
            target.clear_parts(plan.folder)
    _send(target, plans, progress)
    public = isinstance(reader, PublicReader)
    hub = address.kind == "hf"  # which shows no file before the commit
    if not hub:
        check_files(reader, plans, request.verify, 8 if public else target.workers, progress)
    written = _show(target, address, plans, models if request.catalog else None, force=request.force)
    if hub:
        check_files(reader, plans, request.verify, 8 if public else target.workers, progress)
    check_manifests(reader, plans, request.verify)
    result = _result(request, target, plans, request.catalog, written, began)
    if any(bundle.removed for bundle in result.bundles):
        progress.start("removing", sum(len(bundle.removed) for bundle in result.bundles))
        for bundle in result.bundles:
            target.remove([f"{bundle.folder}/{name}" for name in bundle.removed])
            progress.advance(len(bundle.removed))
        target.finish()
    return result


def _send(target: Target, plans: Sequence[Plan], progress: Progress) -> None:
    """Send what is not there, large files first, so that the last ones end together."""
    jobs = [(plan, file) for plan in plans for file in plan.send]
    if not jobs:
        return
    jobs.sort(key=lambda job: -job[1].entry.bytes)
    progress.start("sending", sum(file.entry.bytes for _, file in jobs), "bytes")

    def send(job: tuple[Plan, LocalFile]) -> None:
        plan, file = job
        target.send(file, f"{plan.folder}/{file.name}", progress.advance)

    run_parallel(send, jobs, target.workers)


def _show(
    target: Target,
    address: Address,
    plans: Sequence[Plan],
    models: Sequence[CatalogModel] | None,
    *,
    force: bool,
) -> bool:
    """Put the manifests, then the catalog, each over the version that was read; again where another publisher was
    faster. Whether the catalog was written."""
    for again in range(_ROUNDS):
        if again:
            time.sleep(random.uniform(0, min(2.0, 0.02 * 2**again)))
        try:
            for plan in plans:
                _put_manifest(target, address, plan, force=force)
            new = None
            if models is not None:
                key = address.key(CATALOG_NAME)
                found = target.read(key, MAX_CATALOG_BYTES)
                new = merged(found, models, _catalog_name(address))
                if new is not None:
                    target.put(key, new, found.version if found else None, ASK_FIRST)
            target.finish()
            if new is not None and address.kind != "hf":  # there one commit had both
                _check_unchanged(target, plans)
            return new is not None
        except Conflict:
            continue
    raise PublishError(
        f"{address.text}: other publishers change the catalog or the manifest all the time",
        hint="Publish again when they have finished.",
    )


def _check_unchanged(target: Target, plans: Sequence[Plan]) -> None:
    """Raises Conflict where another publisher replaced a manifest before our catalog was written."""
    for plan in plans:
        found = target.read(f"{plan.folder}/{MANIFEST_NAME}", MAX_MANIFEST_BYTES)
        if found is None or found.data != plan.local.text:
            raise Conflict(plan.folder)


def _put_manifest(target: Target, address: Address, plan: Plan, *, force: bool) -> None:
    key = f"{plan.folder}/{MANIFEST_NAME}"
    found = target.read(key, MAX_MANIFEST_BYTES)
    if found is not None and found.data == plan.local.text:
        return
    check_replaceable(found, plan.local, f"{address.text}: {plan.local.name}/{MANIFEST_NAME}", force=force)
    if found is not None:  # its files are in use for a while yet, which --prune sees by this copy
        old = replaced_name(hashlib.sha256(found.data).hexdigest())
        target.put(f"{plan.folder}/{old}", found.data)
    target.put(key, plan.local.text, found.version if found else None, ASK_FIRST)


def _result(
    request: PublishRequest,
    target: Target,
    plans: Sequence[Plan],
    catalog: bool,
    catalog_sent: bool,
    began: float,
) -> PublishResult:
    bundles = []
    for plan in plans:
        manifest: Literal["sent", "unchanged"] = "unchanged" if plan.current else "sent"
        names = frozenset(file.name for file in plan.local.files)
        removed = unused(target, plan.folder, request.grace, names) if request.prune else []
        bundles.append(
            PublishedBundle(
                name=plan.local.name,
                folder=plan.folder,
                sent_files=len(plan.send),
                sent_bytes=sum(file.entry.bytes for file in plan.send),
                there_files=len(plan.there),
                there_bytes=sum(file.entry.bytes for file in plan.there),
                manifest=manifest,
                manifest_sha256=plan.local.sha256,
                removed=tuple(removed),
            )
        )
    said: Literal["sent", "unchanged"] = "sent" if catalog_sent else "unchanged"
    return PublishResult(tuple(bundles), said if catalog else None, time.monotonic() - began)


def _catalog_name(address: Address) -> str:
    return f"{address.text.rstrip('/')}/{CATALOG_NAME}"

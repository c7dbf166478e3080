"""``mlcweb publish`` puts bundles where browsers can load them, and keeps the catalog of what is there."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlcweb.cli.options import bundles_argument, verb
from mlcweb.cli.output import Output
from mlcweb.numbers import seconds, size

if TYPE_CHECKING:
    from mlcweb.publish import PublishedBundle

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def _duration(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    """``7d``, ``12h``, ``30m`` or ``0``."""
    match = re.fullmatch(r"([0-9]{1,5})([dhms]?)", value)
    if match is None or (match[2] == "" and int(match[1])):
        raise click.BadParameter(f"{value!r} is no time such as 7d, 12h, 30m or 0", ctx, param)
    return timedelta(**{_UNITS[match[2] or "s"]: int(match[1])})


@verb("publish")
@bundles_argument
@click.argument("target")
@click.option(
    "--endpoint-url",
    metavar="URL",
    help="The object store's address, for R2, MinIO and others; by default AWS_ENDPOINT_URL, or the cloud's own.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="Where browsers see TARGET: files are read back from there, as a browser reads them.",
)
@click.option("--no-catalog", is_flag=True, help="Leave TARGET/catalog.json alone.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent and removed, and change nothing.")
@click.option("--prune", is_flag=True, help="Remove files of these bundles that no kept manifest names.")
@click.option(
    "--grace",
    metavar="TIME",
    callback=_duration,
    default="7d",
    show_default=True,
    help="How long --prune keeps a file after it was sent, and after its manifest was replaced.",
)
@click.option(
    "--verify",
    type=click.Choice(["none", "sizes", "full"]),
    default="sizes",
    show_default=True,
    help="What to read back: sizes and the manifest, or every byte.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Send every file again, and replace another model or a newer format under that name.",
)
def command(
    output: Output,
    bundles: tuple[Path, ...],
    target: str,
    endpoint_url: str | None,
    public_url: str | None,
    no_catalog: bool,
    dry_run: bool,
    prune: bool,
    grace: timedelta,
    verify: Any,
    force: bool,
) -> None:
    """Publish bundles, each to TARGET/NAME/.

    TARGET is a folder, s3://bucket/prefix (also R2, MinIO and others), gs://bucket/prefix, az://container/prefix or
    hf://org/name. Files that are there already are not sent again. The manifest comes last, so a reader sees the old
    model or the new one. TARGET/catalog.json lists the models; `mlcweb list --catalog` shows it.

    \b
    Example:
      mlcweb publish SmolLM2-135M-Instruct-q4f16_1 /var/www/models
      mlcweb publish dist/* s3://models/web --endpoint-url https://ACCOUNT.r2.cloudflarestorage.com
      mlcweb publish SmolLM2-135M-Instruct-q4f16_1 hf://org/name --dry-run
      mlcweb publish SmolLM2-135M-Instruct-q4f16_1 s3://models --prune --public-url https://models.example
    """
    from mlcweb.publish import PublishRequest, publish

    request = PublishRequest(
        bundles=bundles,
        target=target,
        endpoint_url=endpoint_url,
        public_url=public_url,
        catalog=not no_catalog,
        dry_run=dry_run,
        prune=prune,
        grace=grace,
        verify=verify,
        force=force,
    )
    with output.progress() as progress:
        result = publish(request, progress)
    document = {
        "target": target,
        "dry_run": dry_run,
        "bundles": [
            {
                "name": bundle.name,
                "path": f"{target.rstrip('/')}/{bundle.name}/",
                "sent": {"files": bundle.sent_files, "bytes": bundle.sent_bytes},
                "there": {"files": bundle.there_files, "bytes": bundle.there_bytes},
                "manifest": bundle.manifest,
                "manifest_sha256": bundle.manifest_sha256,
                "removed": list(bundle.removed),
            }
            for bundle in result.bundles
        ],
        "catalog": result.catalog,
        "seconds": result.seconds,
    }

    def text() -> None:
        for bundle in result.bundles:
            output.line(f"{target.rstrip('/')}/{bundle.name}/: {_said(bundle, dry_run)}")

    output.data(document, text)
    if dry_run:
        output.note("a dry run: nothing was changed")
        return
    sent = sum(bundle.sent_bytes for bundle in result.bundles)
    note = f"{size(sent)} sent in {seconds(result.seconds)}" if sent else f"done in {seconds(result.seconds)}"
    output.note(note + (f"; the catalog is {target.rstrip('/')}/catalog.json" if result.catalog else ""))


def _said(bundle: PublishedBundle, dry_run: bool) -> str:
    done = "to send" if dry_run else "sent"
    parts = []
    if bundle.sent_files:
        parts.append(f"{_files(bundle.sent_files)} {done} ({size(bundle.sent_bytes)})")
    if bundle.there_files:
        parts.append(f"{_files(bundle.there_files)} there already ({size(bundle.there_bytes)})")
    parts.append(f"manifest {'unchanged' if bundle.manifest == 'unchanged' else done}")
    if bundle.removed:
        parts.append(f"{_files(len(bundle.removed))} {'to remove' if dry_run else 'removed'}")
    return ", ".join(parts)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"

"""Opens object stores: their credentials, their endpoint, and how long to try."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from mlcweb.errors import PublishError
from mlcweb.publish.address import Address
from mlcweb.publish.store_errors import missing_keys, unusable_keys
from mlcweb.publish.target import Target

# A request's time is that of the upload of a file, also on a slow line: 24 MiB in 10 minutes are 42 kB/s.
_PATIENT_SECONDS, _HASTY_SECONDS = 600, 120
_PATIENT = {"max_retries": 10, "retry_timeout": timedelta(minutes=30)}
_HASTY = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
# Where object_store finds credentials by itself, beside keys in the environment.
_ROLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
    "AWS_SKIP_SIGNATURE",
)


def open_store(address: Address, endpoint_url: str | None) -> Target:
    """The target of an address in an object store. Raises PublishError where obstore or credentials are missing."""
    try:
        import obstore.store as stores
        from obstore.exceptions import BaseError
    except ImportError as error:
        raise PublishError(
            f"{address.text}: object stores need the package obstore",
            hint="Install it: pip install 'mlcweb[publish]'",
        ) from error
    from mlcweb.publish.object_store import ObjectStoreTarget

    endpoint = endpoint_url
    options: dict[str, Any] = {}
    if address.kind == "s3":
        endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        options = {"bucket": address.place, **s3_keys(address, os.environ)}
        if not os.environ.get("AWS_REGION") and not os.environ.get("AWS_DEFAULT_REGION"):
            options["region"] = "auto" if endpoint and "amazonaws" not in endpoint else "us-east-1"
        made: Any = stores.S3Store
    elif address.kind == "gs":
        options = {"bucket": address.place}
        made = stores.GCSStore
    else:
        options = {"container_name": address.place}
        made = stores.AzureStore
    if endpoint:
        if not endpoint.startswith(("http://", "https://")):
            raise PublishError(
                f"the endpoint {endpoint!r} is no http:// or https:// address",
                hint="Give --endpoint-url (or AWS_ENDPOINT_URL) in full, such as https://s3.example.com.",
            )
        options["base_url" if address.kind == "gs" else "endpoint"] = endpoint.rstrip("/")
    client = {
        "connect_timeout": timedelta(seconds=10),
        "allow_http": bool(endpoint and endpoint.startswith("http://")),
    }
    try:
        patient, hasty = (
            made(
                **options,
                client_options={**client, "timeout": timedelta(seconds=seconds)},
                retry_config=retry,
            )
            for seconds, retry in ((_PATIENT_SECONDS, _PATIENT), (_HASTY_SECONDS, _HASTY))
        )
    except (BaseError, ValueError, OSError) as error:
        raise unusable_keys(error, address) from error
    return ObjectStoreTarget(address, patient, hasty)


def s3_keys(address: Address, environment: Mapping[str, str]) -> dict[str, str]:
    """Keys of ~/.aws/credentials where the environment has none. Raises PublishError where there are none at all."""
    profile = environment.get("AWS_PROFILE")
    if not profile and environment.get("AWS_ACCESS_KEY_ID"):
        if not environment.get("AWS_SECRET_ACCESS_KEY"):
            raise missing_keys(address)
        return {}
    if not profile and any(environment.get(name) for name in _ROLES):
        return {}
    file = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    read = configparser.ConfigParser(interpolation=None)
    try:
        read.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise PublishError(f"{file}: not a file of credentials: {str(error).splitlines()[0]}") from error
    section = profile or "default"
    if read.has_section(section):
        names = {
            "aws_access_key_id": "access_key_id",
            "aws_secret_access_key": "secret_access_key",
            "aws_session_token": "session_token",
        }
        keys = {to: read.get(section, name) for name, to in names.items() if read.has_option(section, name)}
        if {"access_key_id", "secret_access_key"} <= set(keys):
            return keys
    if profile:
        raise PublishError(
            f"{file} has no keys in a profile {profile!r}",
            hint="Unset AWS_PROFILE, or give keys: aws configure export-credentials --format env",
        )
    if Path("/sys/hypervisor/uuid").exists() or _on_amazon():
        return {}  # a machine of Amazon's has a role
    raise missing_keys(address)


def _on_amazon() -> bool:
    try:
        return "amazon" in Path("/sys/class/dmi/id/sys_vendor").read_text(encoding="utf-8").lower()
    except (OSError, UnicodeDecodeError):
        return False

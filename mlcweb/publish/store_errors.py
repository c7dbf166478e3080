"""Turns an object store's errors into messages: what happened, and what to do."""

from __future__ import annotations

import re

from mlcweb.errors import PublishError
from mlcweb.publish.address import Address

_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE of ~/.aws/credentials)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or log in with `gcloud auth application-default login`",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or AZURE_STORAGE_SAS_TOKEN)",
}
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_FULL = ("QuotaExceeded", "StorageFull", "InsufficientStorage", "507 ", "No space left")
_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint", "bare redirect")
_NO_KEYS = ("169.254.169.254", "169.254.170.2", "metadata.google", "getting credentials", "MissingAccount")
_UNREACHED = ("error sending request", "operation timed out", "connection closed", "dns error")
_REFUSED = ("403 Forbidden", "401 Unauthorized")


def missing_keys(address: Address) -> PublishError:
    """The error where there are no credentials."""
    return PublishError(f"no credentials for {address.text}", hint=f"Set {_KEYS[address.kind]}.")


def unusable_keys(error: Exception, address: Address) -> PublishError:
    """The error for credentials or settings that are there, and make no sense."""
    if any(mark in str(error) for mark in _NO_KEYS):
        return missing_keys(address)
    return PublishError(
        f"{address.text}: its credentials or settings cannot be used ({_reason(str(error))})",
        hint=f"Check {_KEYS[address.kind]}.",
    )


def explained(error: Exception, address: Address, key: str) -> PublishError:
    """The error for a request about ``key``."""
    text = str(error)
    where = address.text

    def says(marks: tuple[str, ...]) -> bool:
        return any(mark in text for mark in marks)

    if says(_NO_KEYS):
        return missing_keys(address)
    if says(_NO_BUCKET):
        return PublishError(
            f"{where}: there is no bucket or container {address.place!r}",
            hint="Create it, or check its name, the region (AWS_REGION) and --endpoint-url.",
        )
    if says(_FULL):
        return PublishError(
            f"{where}: the store is full ({_reason(text)})",
            hint="Make room there, and publish again: what was sent is not sent again.",
        )
    if says(_REGION):
        return PublishError(
            f"{where}: the bucket is in another region", hint="Set AWS_REGION to the bucket's."
        )
    if says(_REFUSED) or type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return PublishError(
            f"{where}: the store refuses {key or 'the request'} ({_reason(text)})",
            hint=f"Check {_KEYS[address.kind]}, and that this key may list, read and write there.",
        )
    if says(_UNREACHED):
        return PublishError(
            f"{where}: the store cannot be reached, or broke off ({_reason(text)})",
            hint="Check --endpoint-url and the network, and publish again: what was sent is not sent again.",
        )
    return PublishError(
        f"{where}: {key or 'listing it'}: {_reason(text)}",
        hint="Publish again: what was sent is not sent again.",
    )


def lacks_conditions(error: Exception) -> bool:
    """Whether the store does not know conditional writes."""
    return "501 Not Implemented" in str(error) or "<Code>NotImplemented</Code>" in str(error)


def _reason(text: str) -> str:
    """The store's own words, without the request's address and the library's internals."""
    code, message = (re.search(rf"<{tag}>([^<]*)</{tag}>", text) for tag in ("Code", "Message"))
    if code:
        return f"{code[1]}: {message[1]}"[:200] if message else code[1][:200]
    first = text.partition("\n")[0]
    return re.sub(r"^.* (?=HTTP error|Server returned)", "", first).strip()[:200]

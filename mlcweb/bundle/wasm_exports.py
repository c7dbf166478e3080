"""Reads what a WebAssembly module exports (WebAssembly core specification, binary format, 5.5.10)."""

from __future__ import annotations

from mlcweb.errors import BundleError

_MAGIC = b"\0asm\1\0\0\0"
_EXPORTS, _FUNCTION = 7, 0


def exported_functions(module: bytes, file: str) -> list[str]:
    """Names of the functions that a module exports, in its order. Raises BundleError for what is no module."""
    if not module.startswith(_MAGIC):
        raise BundleError(f"{file}: is no WebAssembly module")
    try:
        return _functions(module)
    except (IndexError, UnicodeDecodeError) as error:
        raise BundleError(f"{file}: a damaged WebAssembly module") from error


def _functions(module: bytes) -> list[str]:
    at = len(_MAGIC)
    while at < len(module):
        section = module[at]
        size, at = _number(module, at + 1)
        if section != _EXPORTS:
            at += size
            continue
        count, at = _number(module, at)
        names = []
        for _ in range(count):
            length, at = _number(module, at)
            name, kind = module[at : at + length].decode(), module[at + length]
            _, at = _number(module, at + length + 1)
            if kind == _FUNCTION:
                names.append(name)
        return names
    return []


def _number(module: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number of at most 32 bits, and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        value |= (module[at] & 0x7F) << shift
        at += 1
        if module[at - 1] < 0x80:
            return value, at
    raise IndexError(at)

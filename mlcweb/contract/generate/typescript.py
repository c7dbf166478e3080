"""Prints the contract for TypeScript: constants, the documents' types, and the schemas as the engine checks them."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from mlcweb.contract.generate.python import CATALOG, ENTRY, ENUMS, NOTE, TIER, class_name, rows
from mlcweb.contract.generate.types import Type, ref, types


def constants(table: dict[str, Any]) -> str:
    """``constants.ts``: Python's constants under the same names."""
    text = f"// What Python and TypeScript agree on: numbers, names and their order.\n// {NOTE}\n\n"
    for name, key in (("FORMAT", "format"), ("VERSION", "version"), ("MANIFEST_NAME", "manifest")):
        text += f"export const {name} = {json.dumps(table[key])};\n"
    for name, key in CATALOG.items():
        text += f"export const {name} = {json.dumps(table[key])};\n"
    for prefix, part in (("MAX_", "limits"), ("", "sizes")):
        text += "\n"
        for name, row in table[part].items():
            text += f"/** {row['of']} */\nexport const {prefix}{name.upper()} = {row['is']};\n"
    text += f"\nexport const DTYPE_BYTES = {_object(table['dtypes'])} as const;\n"
    text += _names("SHARED_BUFFERS", table["shared_buffers"])
    text += "export type SharedBuffer = (typeof SHARED_BUFFERS)[number];\n"
    text += "/** Those of a model of whole texts, which has `embeddings` or `scores`. */\n"
    text += _names("TEXT_BUFFERS", table["text_buffers"])
    text += "export type TextBuffer = (typeof TEXT_BUFFERS)[number];\n"
    text += "/** Those of the entry `image`. */\n"
    text += _names("IMAGE_BUFFERS", table["image_buffers"])
    text += "export type ImageBuffer = (typeof IMAGE_BUFFERS)[number];\n"
    for name, key in ENUMS.items():
        text += f"export type {name} = {' | '.join(json.dumps(value) for value in table[key])};\n"
    text += "\n/** Best first; where the adapter is a CPU, those for it are before all others, the last first. */\n"
    text += "export const TIERS = [\n"
    for row in rows("tiers", TIER, table):
        text += f"  {_object(row)},\n"
    text += "] as const;\n\n"
    text += "/** Entries' dynamic sizes, whether every plan has them, and whether they have `needs`. */\n"
    text += "export const ENTRIES = {\n"
    for row in rows("entries", ENTRY, table):
        text += f"  {row.pop('name')}: {_object(row)},\n"
    text += "} as const;\nexport type EntryName = keyof typeof ENTRIES;\n"
    for name, buffer in table["words"].items():
        text += f"\n/** Words of `{name}`. */\nexport const {class_name(name)} = {{\n"
        for index, (word, meaning) in enumerate(buffer["named"].items()):
            text += f"  /** {meaning} */\n  {word}: {index},\n"
        text += f"  words: {buffer['words']},\n  bytes: {4 * buffer['words']},\n}} as const;\n"
    return text


def _names(constant: str, rows: dict[str, Any]) -> str:
    line = f"export const {constant} = {_list(list(rows))} as const;\n"
    if len(line) <= 121:
        return line
    listed = "".join(f"  {_value(name)},\n" for name in rows)
    return f"export const {constant} = [\n{listed}] as const;\n"


def documents(schemas: dict[str, dict[str, Any]], table: dict[str, Any]) -> str:
    """``documents.ts``: the types of what the schemas accept."""
    body = ""
    for schema in schemas.values():
        for kind in types(schema):
            body += f"\n{_declared(kind, table, document=kind.name == schema['title'])}"
    used = sorted(name for name in ENUMS if f": {name}" in body or f" {name}[]" in body)
    head = f"// The bundle's documents, as the schemas accept them.\n// {NOTE}\n"
    names = "".join(f"  {name},\n" for name in used)
    return f'{head}import type {{\n{names}}} from "./constants.js";\n{body}'


def checked(schema: dict[str, Any]) -> str:
    """A schema without what only people read, on a line: the engine carries it."""
    return json.dumps(_stripped(schema), separators=(",", ":")) + "\n"


def _declared(kind: Type, table: dict[str, Any], *, document: bool) -> str:
    name = f"{kind.name}Document" if document else kind.name
    if kind.alternatives:
        return f"export type {name} = {' | '.join(kind.alternatives)};\n"
    text = f"{_comment(kind.description)}export interface {name} {{\n"
    for field in kind.fields:
        text += f"  readonly {field.name}{'' if field.required else '?'}: {_hint(field.schema, table)};\n"
    return text + "}\n"


def _comment(text: str) -> str:
    return "\n".join(textwrap.wrap(f"/** {text} */", 118, subsequent_indent=" * ")) + "\n"


def _hint(rule: dict[str, Any], table: dict[str, Any]) -> str:
    if "$ref" in rule:
        return ref(rule)
    if "const" in rule:
        return json.dumps(rule["const"])
    if "enum" in rule:
        return next(name for name, key in ENUMS.items() if table[key] == rule["enum"])
    if "prefixItems" in rule:
        return f"readonly [{', '.join(_hint(item, table) for item in rule['prefixItems'])}]"
    if rule["type"] == "array":
        item = _hint(rule["items"], table)
        return f"readonly ({item})[]" if " " in item else f"readonly {item}[]"
    if rule["type"] == "object":
        values = rule.get("additionalProperties")
        inner = _hint(values, table) if isinstance(values, dict) else "unknown"
        return f"Readonly<Record<string, {inner}>>"
    return {"string": "string", "integer": "number", "number": "number", "boolean": "boolean"}[rule["type"]]


def _stripped(rule: Any) -> Any:
    if isinstance(rule, list):
        return [_stripped(item) for item in rule]
    if not isinstance(rule, dict):
        return rule
    prose = (
        {"$schema", "title", "description"} if isinstance(rule.get("type"), str) or "if" in rule else set()
    )
    return {key: _stripped(value) for key, value in rule.items() if key not in prose}


def _object(values: dict[str, Any]) -> str:
    return "{ " + ", ".join(f"{key}: {_value(value)}" for key, value in values.items()) + " }"


def _list(values: list[Any]) -> str:
    return "[" + ", ".join(map(_value, values)) + "]"


def _value(value: Any) -> str:
    return _list(list(value)) if isinstance(value, list | tuple) else json.dumps(value)

"""Runs functions of a model.wasm in a real browser: arguments are numbers, or arrays that come back changed."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

_SCRIPT = """async ({wasm, calls}) => {
  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const text = array => {
    let s = '';
    for (let i = 0; i < array.length; i += 32768) s += String.fromCharCode(...array.subarray(i, i + 32768));
    return btoa(s);
  };
  const module = await WebAssembly.compile(bytes(wasm));
  const {exports} = await WebAssembly.instantiate(module, {});
  const imports = WebAssembly.Module.imports(module).map(i => i.name);
  const names = WebAssembly.Module.exports(module).map(e => e.name).sort();
  const results = calls.map(({name, args, ranges}) => {
    let top = (exports.__heap_base.value + 15) & ~15;
    const places = args.map(arg => {
      if (typeof arg === 'number') return null;
      const data = bytes(arg), at = top;
      top = (top + data.length + 15) & ~15;
      return {at, data};
    });
    const missing = top - exports.memory.buffer.byteLength;
    if (missing > 0) exports.memory.grow(Math.ceil(missing / 65536));
    for (const place of places) if (place) new Uint8Array(exports.memory.buffer).set(place.data, place.at);
    for (const range of ranges) {
      const result = exports[name](...args.map((arg, i) => places[i] ? places[i].at : arg), ...range);
      if (result !== undefined) throw new Error(`${name} returned ${result}`);
    }
    return places.map(place =>
      place && text(new Uint8Array(exports.memory.buffer, place.at, place.data.length)));
  });
  return {imports, names, results};
}"""


class Wasm:
    """A module, and the page it runs in."""

    def __init__(self, page: Any, wasm: bytes) -> None:
        self.page = page
        self.wasm = base64.b64encode(wasm).decode()

    def names(self) -> tuple[list[str], list[str]]:
        """Names of its imports, and sorted names of its exports."""
        found = self.page.evaluate(_SCRIPT, {"wasm": self.wasm, "calls": []})
        return found["imports"], found["names"]

    def run(
        self, calls: list[tuple[str, list[Any]]], ranges: list[list[int]] | None = None
    ) -> list[list[npt.NDArray[Any]]]:
        """Each call's arrays afterwards, in order; with ``ranges`` it is made once for each, as its last arguments."""
        sent = [
            {
                "name": name,
                "ranges": ranges or [[]],
                "args": [
                    base64.b64encode(a.tobytes()).decode() if isinstance(a, np.ndarray) else int(a)
                    for a in args
                ],
            }
            for name, args in calls
        ]
        results = self.page.evaluate(_SCRIPT, {"wasm": self.wasm, "calls": sent})["results"]
        return [
            [
                np.frombuffer(base64.b64decode(data), arg.dtype).reshape(arg.shape)
                for data, arg in zip(result, args, strict=True)
                if isinstance(arg, np.ndarray)
            ]
            for result, (_, args) in zip(results, calls, strict=True)
        ]

"""Runs a CPU tier's plan in a page as an engine would: buffers and kernels in one Wasm memory, launches in order."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from mlcweb.contract.constants import GRID_WORDS
from mlcweb.lower import Entries
from mlcweb.plan import Plan
from mlcweb.wasm.module import build_cpu_module, compile_tables, link

_OPEN = """async ({kernels, tables, plan}) => {
  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const memory = new WebAssembly.Memory({initial: 16, maximum: 65536});
  const {exports} = (await WebAssembly.instantiate(bytes(kernels), {env: {memory}})).instance;
  const host = (await WebAssembly.instantiate(bytes(tables), {})).instance.exports;
  let top = exports.__heap_base.value;
  const take = size => { const at = (top + 63) & ~63; top = at + size; return at; };
  const places = plan.buffers.map(b => take(b.bytes ?? b.page_bytes * b.pages));
  const records = Math.max(...Object.values(plan.entries).map(e => e.record_words * e.launches.length));
  const table = host.__heap_base.value;
  const grow = (memory, end) => {
    const missing = end - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  };
  grow(memory, top);
  grow(host.memory, table + records * 4);
  const at = name => places[plan.buffers.findIndex(b => b.name === name)];
  const model = window.cpuModel = {};
  model.write = (name, text) => new Uint8Array(memory.buffer).set(bytes(text), at(name));
  model.run = (entry, ...dims) => {
    const {launch, launches, record_words} = plan.entries[entry];
    host[launch](...dims, table);
    const words = new Uint32Array(host.memory.buffer, table, launches.length * record_words);
    launches.forEach(({kernel, args}, i) => {
      const {name, uniform_words} = plan.kernels[kernel], record = words.subarray(i * record_words);
      const numbers = record.subarray(GRID, GRID + uniform_words - 1);
      exports[name](...args.map(a => places[a]), ...numbers, 0, record[0]);
    });
  };
  model.step = (tokens, position) => {
    const i32 = new Int32Array(memory.buffer);
    i32.fill(0, at('state') >> 2, (at('state') >> 2) + 8);
    i32[at('state') >> 2] = position;
    i32[(at('state') >> 2) + 1] = tokens[0];
    if (tokens.length > 1) i32.set(tokens, at('tokens') >> 2);
    const before = performance.now();
    tokens.length > 1 ? model.run('prefill', tokens.length) : model.run('decode');
    const ms = performance.now() - before;
    const vocab = plan.buffers.find(b => b.name === 'logits').bytes / 4;
    const logits = new Float32Array(memory.buffer, at('logits'), vocab);
    return {ms, logits};
  };
}"""
_STEP = """({tokens, position}) => {
  const {ms, logits} = window.cpuModel.step(tokens, position), u8 = new Uint8Array(logits.slice().buffer);
  let s = '';
  for (let i = 0; i < u8.length; i += 32768) s += String.fromCharCode(...u8.subarray(i, i + 32768));
  return {ms, logits: btoa(s)};
}"""


class CpuModel:
    """A plan's model in a page. Its KV pages are in order."""

    def __init__(self, page: Any, entries: Entries, plan: Plan, weights: dict[str, np.ndarray]) -> None:
        """``weights`` by the names that the plan's buffers have."""
        self.page, self.position = page, 0
        modules = {
            "kernels": build_cpu_module(entries, plan, relaxed=plan.tier.relaxed),
            "tables": link([compile_tables(plan)], [plan.launch_export(e) for e in plan.entries]),
        }
        request = {
            "plan": plan.to_json(),
            **{name: base64.b64encode(module).decode() for name, module in modules.items()},
        }
        page.evaluate(_OPEN.replace("GRID", str(GRID_WORDS)), request)
        for buffer in plan.buffers:
            if buffer.kind == "weight":
                found = weights[buffer.name]
                assert found.nbytes <= buffer.bytes < found.nbytes + 4, (buffer, found.shape, found.dtype)
                self._write(buffer.name, found)
            elif buffer.name == "page_table":
                self._write(buffer.name, np.arange(buffer.bytes // 4, dtype=np.int32))

    def _write(self, name: str, array: np.ndarray) -> None:
        text = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
        self.page.evaluate("([name, text]) => window.cpuModel.write(name, text)", [name, text])

    def feed(self, tokens: list[int]) -> np.ndarray:
        """The logits after the last."""
        result = self.page.evaluate(_STEP, {"tokens": list(tokens), "position": self.position})
        self.position += len(tokens)
        self.ms = float(result["ms"])
        assert math.isfinite(self.ms)
        return np.frombuffer(base64.b64decode(result["logits"]), np.float32)

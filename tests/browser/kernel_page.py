"""Runs lowered kernels in a real browser, one at a time, so that tests can compare them with numpy."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import tvm

from mlcweb.lower.wgsl import LoweredKernel

_SCRIPT = """async ({features, kernels}) => {
  const bytes = s => Uint8Array.from(atob(s), c => c.charCodeAt(0));
  const text = a => { let s = ''; for (let i = 0; i < a.length; i += 32768) s += String.fromCharCode(...a.subarray(i, i + 32768)); return btoa(s); };
  if (!window.testDevices) window.testDevices = {};
  const key = features.join();
  if (!window.testDevices[key]) {
    const adapter = await navigator.gpu.requestAdapter();
    window.testDevices[key] = await adapter.requestDevice({requiredFeatures: features});
  }
  const device = window.testDevices[key], U = GPUBufferUsage;
  device.pushErrorScope('validation');
  const kernel = kernels;
  const module = device.createShaderModule({code: kernel.wgsl});
  const info = await module.getCompilationInfo();
  const bad = info.messages.filter(m => m.type === 'error').map(m => `${m.lineNum}: ${m.message}`);
  if (bad.length) throw new Error('WGSL: ' + bad.join('; '));
  const buffers = kernel.args.map(a => {
    const data = bytes(a), b = device.createBuffer({size: Math.max(16, (data.length + 15) & ~15), usage: U.STORAGE | U.COPY_SRC | U.COPY_DST});
    const padded = new Uint8Array((data.length + 3) & ~3); padded.set(data);
    device.queue.writeBuffer(b, 0, padded); return [b, data.length]; });
  const uniform = device.createBuffer({size: 64, usage: U.UNIFORM | U.COPY_DST});
  device.queue.writeBuffer(uniform, 0, new Uint32Array(kernel.uniform));
  const layout = device.createBindGroupLayout({entries: kernel.bindings.map((type, binding) => ({binding, visibility: 4, buffer: {type}}))});
  const pipeline = device.createComputePipeline({layout: device.createPipelineLayout({bindGroupLayouts: [layout]}), compute: {module, entryPoint: kernel.name}});
  const entries = kernel.arguments.map((a, binding) => ({binding, resource: {buffer: buffers[a][0]}}));
  entries.push({binding: entries.length, resource: {buffer: uniform}});
  const group = device.createBindGroup({layout, entries});
  const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass();
  pass.setPipeline(pipeline); pass.setBindGroup(0, group); pass.dispatchWorkgroups(...kernel.grid); pass.end();
  device.queue.submit([encoder.finish()]);
  const error = await device.popErrorScope(); if (error) throw new Error(error.message);
  const result = [];
  for (const [b, n] of buffers) {
    const size = (n + 3) & ~3, r = device.createBuffer({size, usage: U.MAP_READ | U.COPY_DST}), e = device.createCommandEncoder();
    e.copyBufferToBuffer(b, 0, r, 0, size); device.queue.submit([e.finish()]);
    await r.mapAsync(1); result.push(text(new Uint8Array(r.getMappedRange()).slice(0, n))); r.destroy(); b.destroy();
  }
  return result;
}"""


def evaluate(expression: Any, dims: dict[str, int]) -> int:
    """The value of a grid extent or scalar at the given dynamic sizes."""
    analyzer = tvm.sym.Analyzer()

    def visit(node: Any) -> None:
        if isinstance(node, tvm.tirx.Var):
            analyzer.bind(node, tvm.tirx.const(dims[str(node.name)], "int32"), allow_override=True)
        for part in ("a", "b", "value", "condition", "true_value", "false_value"):
            if hasattr(node, part) and not isinstance(node, (int, tvm.tirx.IntImm)):
                visit(getattr(node, part))

    visit(expression)
    return int(analyzer.simplify(expression))


def run_kernel(
    page: Any, kernel: LoweredKernel, args: list[np.ndarray], features: tuple[str, ...] = (), **dims: int
) -> list[np.ndarray]:
    """Run ``kernel`` on ``args`` (in the PrimFunc's order, outputs included); returns every buffer afterwards."""
    grid = [evaluate(extent, dims) for extent in kernel.grid]
    request = {
        "features": list(features),
        "kernels": {
            "name": kernel.name,
            "wgsl": kernel.wgsl,
            "bindings": kernel.bindings,
            "arguments": list(kernel.arguments),
            "grid": grid + [1] * (3 - len(grid)),
            "uniform": [*(evaluate(s, dims) for s in kernel.scalars), grid[0]],
            "args": [base64.b64encode(np.ascontiguousarray(a).tobytes()).decode() for a in args],
        },
    }
    result = page.evaluate(_SCRIPT, request)
    return [
        np.frombuffer(base64.b64decode(r), a.dtype).reshape(a.shape)
        for r, a in zip(result, args, strict=True)
    ]

"""Runs lowered kernels in a real browser, one at a time, so that tests can compare them with numpy."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import WholeMatrix, matrix
from mlcweb.lower import LoweredKernel, lower_kernel
from mlcweb.plan.sizes import substitute
from mlcweb.quantize import Scheme
from mlcweb.quantize.group import quantize_group
from mlcweb.quantize.unpack import unpack

_SCRIPT = """async ({features, limits, kernel}) => {
  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const text = array => {
    let s = '';
    for (let i = 0; i < array.length; i += 32768) s += String.fromCharCode(...array.subarray(i, i + 32768));
    return btoa(s);
  };
  const wanted = JSON.stringify([features, limits]);
  window.testDevices ??= {};
  const device = window.testDevices[wanted] ??= await (await navigator.gpu.requestAdapter())
    .requestDevice({requiredFeatures: features, requiredLimits: limits});
  const U = GPUBufferUsage;
  device.pushErrorScope('validation');
  const make = async () => {
    const module = device.createShaderModule({code: kernel.wgsl});
    const errors = (await module.getCompilationInfo()).messages.filter(m => m.type === 'error');
    if (errors.length) throw new Error('WGSL: ' + errors.map(m => `${m.lineNum}: ${m.message}`).join('; '));
    const layout = device.createBindGroupLayout({
      entries: kernel.bindings.map((type, binding) => ({binding, visibility: 4, buffer: {type}}))});
    const pipeline = device.createComputePipeline({
      layout: device.createPipelineLayout({bindGroupLayouts: [layout]}), compute: {module, entryPoint: kernel.name}});
    return {layout, pipeline};
  };
  const kept = window.testPipelines ??= new Map(), key = wanted + kernel.wgsl;
  const {layout, pipeline} = kept.get(key) ?? await make();
  kept.set(key, {layout, pipeline});
  if (kept.size > 4) kept.delete(kept.keys().next().value); // a test repeats one or two
  const buffers = kernel.args.map(arg => {
    const data = bytes(arg), padded = new Uint8Array((data.length + 3) & ~3); // as the engine's buffers are
    padded.set(data);
    const size = Math.max(16, padded.length), usage = U.STORAGE | U.COPY_SRC | U.COPY_DST;
    const buffer = device.createBuffer({size, usage});
    device.queue.writeBuffer(buffer, 0, padded);
    return {buffer, length: data.length};
  });
  const uniform = device.createBuffer({size: 64, usage: U.UNIFORM | U.COPY_DST});
  device.queue.writeBuffer(uniform, 0, new Uint32Array(kernel.uniform));
  const entries = kernel.arguments.map((a, binding) => ({binding, resource: {buffer: buffers[a].buffer}}));
  entries.push({binding: entries.length, resource: {buffer: uniform}});
  const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({layout, entries}));
  pass.dispatchWorkgroups(...kernel.grid);
  pass.end();
  const reads = buffers.map(({buffer, length}) => {
    const size = (length + 3) & ~3, read = device.createBuffer({size, usage: U.MAP_READ | U.COPY_DST});
    encoder.copyBufferToBuffer(buffer, 0, read, 0, size);
    return {read, length};
  });
  device.queue.submit([encoder.finish()]);
  const error = await device.popErrorScope();
  if (error) throw new Error(error.message);
  const result = [];
  for (const {read, length} of reads) {
    await read.mapAsync(1);
    result.push(text(new Uint8Array(read.getMappedRange()).slice(0, length)));
    read.destroy();
  }
  for (const {buffer} of buffers) buffer.destroy();
  return result;
}"""


def run_kernel(
    page: Any,
    func: Any,
    tier: Tier,
    args: list[npt.NDArray[Any]],
    needs: dict[str, Any] | None = None,
    **dims: int,
) -> list[npt.NDArray[Any]]:
    """Lower and run ``func`` on ``args`` (the PrimFunc's order, outputs included); returns every buffer afterwards.

    ``needs`` is what it needs beyond its tier.
    """
    return run_lowered(page, lower_kernel("test_kernel", func, tier), tier, args, needs, **dims)


def run_lowered(
    page: Any,
    kernel: LoweredKernel,
    tier: Tier,
    args: list[npt.NDArray[Any]],
    needs: dict[str, Any] | None = None,
    **dims: int,
) -> list[npt.NDArray[Any]]:
    """As ``run_kernel``, for a kernel that is run often."""
    grid = [substitute(extent, dims) for extent in kernel.grid]
    needs = needs or {"features": [], "limits": {}}
    request = {
        "features": sorted({*tier.features, *needs["features"]}),
        "limits": needs["limits"],
        "kernel": {
            "name": kernel.name,
            "wgsl": kernel.wgsl,
            "bindings": kernel.bindings,
            "arguments": list(kernel.arguments),
            "grid": grid,
            "uniform": [*(substitute(s, dims) for s in kernel.scalars), grid[0]],
            "args": [base64.b64encode(np.ascontiguousarray(a).tobytes()).decode() for a in args],
        },
    }
    result = page.evaluate(_SCRIPT, request)
    return [
        np.frombuffer(base64.b64decode(r), a.dtype).reshape(a.shape)
        for r, a in zip(result, args, strict=True)
    ]


def stored(
    weight: npt.NDArray[Any], scheme: Scheme, tier: Tier
) -> tuple[WholeMatrix, list[npt.NDArray[Any]], npt.NDArray[np.float32]]:
    """A weight ``[N, K]`` as a kernel sees it: its storage, its buffers, and its dequantized values."""
    weight = weight.astype(scheme.activation)
    storage = matrix(*weight.shape, scheme.stored(""), tier)
    if not isinstance(storage, GroupQuantized):
        return storage, [weight], weight.astype(np.float32)
    arrays = quantize_group(weight, scheme.format)
    return storage, list(arrays), unpack(arrays, scheme.format)[:, : weight.shape[1]]

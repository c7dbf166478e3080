"""Loses a page's GPU devices when they are told to, by the calls that are made of them."""

from __future__ import annotations

from typing import Any

# `losses.at(step, ...)` loses the device that makes the n-th next call of a method, then the next step's, and so on.
LOSE = """(() => {
  const devices = [], plan = [], lost = new Set();
  const losses = window.losses = {
    devices,
    at: (...steps) => { plan.length = 0; plan.push(...steps); },
    now: () => devices.at(-1).destroy(),
    get left() { return plan.length; },
  };
  const happens = (name, device) => {
    const [step] = plan;
    if (step?.name !== name || lost.has(device) || --step.calls > 0) return;
    plan.shift();
    lost.add(device);
    device.destroy();
  };
  const wrap = (prototype, name, deviceOf) => {
    const original = prototype[name];
    prototype[name] = function (...args) {
      happens(name, deviceOf(this));
      return original.apply(this, args);
    };
  };
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...args) {
    const device = await request.apply(this, args);
    devices.push(device);
    return device;
  };
  const ofQueue = queue => devices.find(device => device.queue === queue);
  wrap(GPUQueue.prototype, 'submit', ofQueue);
  wrap(GPUQueue.prototype, 'writeBuffer', ofQueue);
  for (const name of ['createBuffer', 'createComputePipelineAsync', 'createBindGroup', 'popErrorScope'])
    wrap(GPUDevice.prototype, name, device => device);
})()"""


def lose_at(page: Any, *steps: tuple[str, int]) -> None:
    """After so many calls of a method, and then after so many of the next; ``page`` is playwright's."""
    page.evaluate("steps => losses.at(...steps)", [{"name": name, "calls": calls} for name, calls in steps])


def lost_as_planned(page: Any) -> bool:
    return bool(page.evaluate("losses.left === 0"))

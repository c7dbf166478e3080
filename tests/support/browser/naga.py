"""A program: which kernels naga, Firefox's WGSL compiler, refuses.  naga.py [FEATURE…] < {name: WGSL}

Prints {name: what it says}. A process chooses its Vulkan driver once, and a crash ends only it.
"""

import json
import sys

import wgpu


def main(*features: str) -> None:
    adapters = wgpu.gpu.enumerate_adapters_sync()
    vulkan = next(adapter for adapter in adapters if adapter.info["backend_type"] == "Vulkan")
    device = vulkan.request_device_sync(required_features=list(features))
    refused = {}
    for name, wgsl in json.load(sys.stdin).items():
        try:
            device.create_shader_module(code=wgsl)
        except wgpu.GPUError as error:
            refused[name] = str(error)
    print(json.dumps(refused))


if __name__ == "__main__":
    main(*sys.argv[1:])

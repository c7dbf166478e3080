// Compiles one compute pipeline a kernel, in parallel. Layouts are explicit and shared, so that nothing depends on what
// a shader compiler drops, and the work can start before any buffer exists. A browser compiles a few at a time, in the
// order in which they are asked for.
import { BundleError } from "../errors.js";
import { Log } from "../log.js";
import type { Plan, PlanKernel } from "./parse.js";

export class Pipelines {
  private readonly groups = new Map<string, GPUBindGroupLayout>();
  private readonly layouts = new Map<string, GPUPipelineLayout>();
  private readonly pipelines: GPUComputePipeline[] = [];
  private readonly compiling = new Map<number, Promise<void>>();

  constructor(
    private readonly device: GPUDevice,
    private readonly plan: Plan,
    private readonly wgsl: ReadonlyMap<string, string>,
    private readonly log = Log.silent,
  ) {}

  /** Compiles these kernels of the plan, each once; resolves when all of them are compiled, and calls `onCompiled` for
   * each. Throws BundleError for one that does not compile. */
  async create(kernels: Iterable<number>, onCompiled: () => void = () => {}): Promise<void> {
    const { plan, wgsl } = this;
    // The longest shaders first: they take the longest to compile.
    const order = [...new Set(kernels)]
      .map((i) => ({ kernel: plan.kernels[i]!, i, size: wgsl.get(plan.kernels[i]!.name)?.length ?? 0 }))
      .sort((a, b) => b.size - a.size);
    await Promise.all(
      order.map(async ({ kernel, i }) => {
        let compiled = this.compiling.get(i);
        if (!compiled) {
          const work = this.compile(kernel, wgsl.get(kernel.name));
          compiled = this.log.timed(3, `pipeline ${kernel.name}`, work).then((pipeline) => {
            this.pipelines[i] = pipeline;
          });
          this.compiling.set(i, compiled);
        }
        await compiled;
        onCompiled();
      }),
    );
  }

  get(kernel: number): GPUComputePipeline {
    return this.pipelines[kernel]!;
  }

  groupLayout(kernel: PlanKernel): GPUBindGroupLayout {
    const key = `${kernel.bindings.join()}:${kernel.uniformWords}`;
    let layout = this.groups.get(key);
    if (!layout) {
      const entries = kernel.bindings.map(
        (type, binding): GPUBindGroupLayoutEntry => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }),
      );
      layout = this.device.createBindGroupLayout({ entries });
      this.groups.set(key, layout);
      this.layouts.set(key, this.device.createPipelineLayout({ bindGroupLayouts: [layout] }));
    }
    return layout;
  }

  private async compile(kernel: PlanKernel, code: string | undefined): Promise<GPUComputePipeline> {
    if (code === undefined) throw new BundleError(`The kernels file has no kernel ${kernel.name}.`);
    this.groupLayout(kernel);
    const layout = this.layouts.get(`${kernel.bindings.join()}:${kernel.uniformWords}`)!;
    this.device.pushErrorScope("validation");
    const module = this.device.createShaderModule({ label: kernel.name, code });
    const scope = this.device.popErrorScope();
    try {
      const pipeline = await this.device.createComputePipelineAsync({
        label: kernel.name,
        layout,
        compute: { module, entryPoint: kernel.name },
      });
      await scope;
      return pipeline;
    } catch (cause) {
      const refused = await scope;
      const messages =
        (await module.getCompilationInfo().catch(() => undefined))?.messages.filter((m) => m.type === "error") ?? [];
      const why = messages[0]
        ? `line ${messages[0].lineNum}: ${messages[0].message}`
        : (refused?.message ?? (cause instanceof Error ? cause.message : String(cause)));
      throw new BundleError(
        `The kernel ${kernel.name} does not compile on this GPU: ${why}`,
        "Report the model, the browser and the GPU.",
        { cause },
      );
    }
  }
}

// Tests Engine.check, and what a load refuses early, on fake devices that lack one thing each.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FetchLike } from "../src/bundle/index.js";
import type { CheckOptions, EngineCheck } from "../src/check/index.js";
import { Engine } from "../src/engine/index.js";
import { BundleError, CancelledError, InvalidRequestError, NetworkError } from "../src/errors.js";
import { WorkerEngine } from "../src/worker/client.js";
import { type Any, manifest, manifestJson } from "./sample.js";

const URL_ = "https://x.test/m/";
const MANIFEST = `${URL_}mlcweb.json`;
/** All that a load of the sample fetches but the manifest. */
const TOTAL = [...manifest().files].reduce((sum, [name, { bytes }]) => sum + (name.startsWith("v.") ? 0 : bytes), 0);
const INFO = { vendor: "v", architecture: "a", device: "d", description: "GPU" };
const NO_MODEL = { bandwidth: null, launch: null, tokensPerSecond: null, why: "The model does not run here." };

let asked: string[];
/** The bundle's manifest, which is all that its host gives. */
const serve =
  (change: (json: Any) => void = () => {}): FetchLike =>
  async (url) => {
    asked.push(url);
    const json = manifestJson();
    change(json);
    return url === MANIFEST ? new Response(JSON.stringify(json)) : new Response("", { status: 404 });
  };

interface Device {
  features?: readonly string[];
  limits?: Record<string, number>;
  info?: object;
  /** What requestDevice says where more is asked of it than every device has, or of all. */
  refuses?: string;
  always?: boolean;
  /** The largest buffer that it makes, in bytes. */
  most?: number;
}
const LIMITS = { maxBufferSize: 2 ** 28, maxStorageBufferBindingSize: 2 ** 27 };

/** A browser with this adapter; its devices compute nothing. */
function device({ features = [], limits = {}, info = {}, refuses, always, most = Infinity }: Device = {}) {
  let open = 0;
  const requestDevice = async (descriptor?: GPUDeviceDescriptor): Promise<unknown> => {
    if (refuses && (always || descriptor)) throw new DOMException(refuses, "OperationError");
    open++;
    const scopes: (string | undefined)[] = [];
    return {
      limits: { ...LIMITS, ...descriptor?.requiredLimits },
      pushErrorScope: () => scopes.push(undefined),
      popErrorScope: async () => {
        const message = scopes.pop();
        return message === undefined ? null : { message };
      },
      createBuffer: ({ size }: GPUBufferDescriptor) => {
        if (size > most) scopes[scopes.length - 1] = "too large"; // the scope of out-of-memory
        return { size, destroy() {} };
      },
      destroy: () => open--,
    };
  };
  const adapter = {
    features: new Set(features),
    limits: { ...LIMITS, ...limits },
    info: { ...INFO, ...info },
    requestDevice,
  };
  return { gpu: { requestAdapter: async () => adapter }, left: () => open };
}

const storage = (quota?: number, usage = 0) => ({
  estimate: async () => {
    if (quota === undefined) throw new TypeError("no storage");
    return { quota, usage };
  },
  persisted: async () => {
    if (quota === undefined) throw new TypeError("no storage");
    return false;
  },
});

function browser(gpu: unknown, quota = 1e9, usage?: number): void {
  vi.stubGlobal("navigator", { gpu, storage: storage(quota, usage), userAgent: "Test/1" });
}

/** A Cache API that keeps these. */
function keeping(files: Record<string, string> = {}): Map<string, string> {
  const kept = new Map(Object.entries(files));
  vi.stubGlobal("caches", {
    open: async () => ({
      match: async (key: string) => (kept.has(key) ? new Response(kept.get(key)!) : undefined),
      put: async (key: string, value: Response) => void kept.set(key, await value.text()),
      keys: async () => [...kept.keys()].map((url) => ({ url })),
      delete: async (key: string) => kept.delete(key),
    }),
  });
  return kept;
}

beforeEach(() => {
  asked = [];
  vi.stubGlobal("GPUBufferUsage", { STORAGE: 128 });
});
afterEach(() => vi.unstubAllGlobals());

const check = (options: CheckOptions = {}): Promise<EngineCheck> =>
  Engine.check(URL_, { fetch: serve(), measure: false, ...options });
/** What a load of the same rejects with. */
const refusal = (options: CheckOptions = {}): Promise<Any> =>
  Engine.load(URL_, { fetch: serve(), ...options }).then(
    () => ({ code: "loaded" }),
    (error: Any) => error,
  );

describe("a bundle that runs", () => {
  it("is told of whole, from its manifest alone", async () => {
    const { gpu, left } = device({ features: ["subgroups"] });
    browser(gpu, 1000, 400);
    const kept = keeping();
    const found = await check({ contextLength: 40, firstTokens: 16 });
    expect(found).toEqual({
      name: "sample",
      url: URL_,
      runs: true,
      reasons: [],
      warnings: [],
      tier: "base",
      missing: { features: [], limits: [] },
      adapter: { ...INFO, fallback: false, software: false },
      noWebGPU: null,
      contextLength: 40,
      memory: { weights: 160, kv: 3 * 128, other: 1000, total: 1160 + 3 * 128, atLoad: 1160 + 128 },
      download: { total: TOTAL, kept: 0, fetch: TOTAL },
      storage: { quota: 1000, used: 400, left: 600, persisted: false },
      speed: { bandwidth: null, launch: null, tokensPerSecond: null, why: "It was not asked for." },
    });
    expect(JSON.parse(JSON.stringify(found))).toEqual(found);
    expect([asked, left()]).toEqual([[MANIFEST], 0]);
    expect([...kept.keys()]).toEqual([]); // the manifest of files that are kept is not replaced
  });

  it("is told of by a page whose engine is in a worker", async () => {
    browser(device().gpu);
    expect((await WorkerEngine.check(URL_, { fetch: serve(), measure: false })).tier).toBe("base");
  });

  it("has what is kept of it taken off", async () => {
    browser(device().gpu);
    const { files, chunks, wasm } = manifest();
    const held = [wasm, chunks[0]!].map((name) => [`${URL_}${name}?sha256=${files.get(name)!.sha256}`, "x"]);
    const other = [`${URL_}${chunks[1]!}?sha256=${"1".repeat(64)}`, "of another version"];
    keeping(Object.fromEntries([...held, other]) as Record<string, string>);
    const bytes = files.get(wasm)!.bytes + files.get(chunks[0]!)!.bytes;
    expect((await check()).download).toEqual({ total: TOTAL, kept: bytes, fetch: TOTAL - bytes });
    expect((await check({ cache: false })).download.kept).toBe(0);
  });

  it("of an older compiler has the memory of its largest tier, and no speed", async () => {
    browser(device().gpu);
    const fetch = serve(({ tiers }) => delete tiers[0].cost);
    const { memory, speed } = await check({ fetch, contextLength: 17, measure: true });
    expect(memory).toEqual({ weights: 160, kv: 2 * 8 * 16, other: 0, total: 160 + 256, atLoad: 160 + 256 });
    expect(speed).toMatchObject({ tokensPerSecond: null, why: expect.stringMatching(/compile it again/) as string });
  });

  it("takes another tier than one that is known to be wrong here", async () => {
    browser(device().gpu);
    const fetch = serve((json) => {
      json.files["k.00000001.wgsl"] = { bytes: 10, sha256: `00000001${"0".repeat(56)}` };
      json.tiers.unshift({ ...json.tiers[0], name: "first", kernels: "k.00000001.wgsl" });
    });
    const verdict = encodeURIComponent("self-check, v a d GPU, Test/1");
    keeping({ [`${URL_}choice/${verdict}`]: JSON.stringify({ wrong: { "k.00000001.wgsl float": 0.5 } }) });
    const found = await check({ fetch });
    expect([found.tier, found.warnings.map(({ code }) => code)]).toEqual(["base", ["wrong-results"]]);
    expect((await check({ fetch, selfCheck: false })).tier).toBe("first");
    const named = await check({ fetch, tier: "first" });
    expect([named.runs, named.reasons[0]!.code]).toEqual([false, "wrong-results"]);
  });
});

describe("the speed", () => {
  const BANDWIDTH = 250e9,
    LAUNCH = 4e-6,
    /** What a submission takes besides. */
    SUBMISSION = 1e-4;
  /** A device whose clock goes on by what was submitted: a copy's launches have many workgroups. */
  function timedDevice(broken = false) {
    const made = device();
    let now = 0,
      seconds = 0,
      largest = 0,
      bytes = 0;
    vi.stubGlobal("performance", { now: () => now * 1000 });
    const request = made.gpu.requestAdapter;
    const measuring = {
      createShaderModule: () => ({}),
      createComputePipelineAsync: async () => {
        if (broken) throw new DOMException("no", "OperationError");
        return { getBindGroupLayout: () => ({}) };
      },
      createBindGroup: () => ({}),
      createBuffer: ({ size }: GPUBufferDescriptor) => {
        largest = Math.max(largest, size);
        bytes += size;
        return { size, destroy: () => (bytes -= size) };
      },
      createCommandEncoder: () => ({
        beginComputePass: () => ({
          setPipeline() {},
          setBindGroup() {},
          end() {},
          dispatchWorkgroups: (groups: number) => {
            seconds += groups === 1 ? LAUNCH : (2 * largest) / BANDWIDTH;
          },
        }),
        finish: () => ({}),
      }),
      queue: {
        submit: () => {
          now += seconds + SUBMISSION;
          seconds = 0;
        },
        onSubmittedWorkDone: async () => {},
      },
    };
    let measurements = 0;
    const { requestDevice } = { requestDevice: async (d: GPUDeviceDescriptor) => (await request()).requestDevice(d) };
    const gpu = {
      requestAdapter: async () => ({
        ...(await request()),
        requestDevice: async (descriptor: GPUDeviceDescriptor) => {
          const opened = (await requestDevice(descriptor)) as object;
          const compile = measuring.createComputePipelineAsync;
          const createComputePipelineAsync = (): unknown => {
            measurements++;
            return compile();
          };
          return { ...opened, ...measuring, limits: LIMITS, createComputePipelineAsync };
        },
      }),
    };
    return { gpu, left: () => bytes, took: () => now, measurements: () => measurements };
  }

  it("is estimated by a measurement, which is kept for the next check", async () => {
    const { gpu, left, took, measurements } = timedDevice();
    browser(gpu);
    const kept = keeping();
    const { speed } = await check({ measure: true });
    expect(speed.bandwidth! / BANDWIDTH).toBeCloseTo(1, 1);
    expect(speed.launch! / LAUNCH).toBeCloseTo(1, 1);
    const seconds = 20 * 1.25 * speed.launch! + 100 / (0.65 * speed.bandwidth!);
    expect(speed.tokensPerSecond! * seconds).toBeCloseTo(1, 6);
    expect([speed.why, left(), measurements(), kept.size]).toEqual([null, 0, 2, 1]);
    expect(took()).toBeLessThan(0.5);
    expect((await check({ measure: true })).speed).toEqual(speed);
    expect(measurements()).toBe(2);
  });
  it("is what another page has measured, unless that is damaged", async () => {
    const { gpu, measurements } = timedDevice();
    browser({ requestAdapter: async () => ({ ...(await gpu.requestAdapter()), info: { ...INFO, device: "other" } }) });
    const name = `${URL_}choice/${encodeURIComponent("speed, v a other GPU")}`;
    keeping({ [name]: JSON.stringify({ bandwidth: 1e9, launch: 1e-3 }) });
    const { speed } = await check({ measure: true });
    expect(speed.tokensPerSecond).toBeCloseTo(1 / (20 * 1.25e-3 + 100 / 0.65e9), 6);
    expect(measurements()).toBe(0);
    browser({ requestAdapter: async () => ({ ...(await gpu.requestAdapter()), info: { ...INFO, device: "third" } }) });
    const third = name.replace("other", "third");
    for (const damaged of ["{", "null", '{"bandwidth": 0, "launch": 1}', '{"bandwidth": "x"}']) {
      keeping({ [third]: damaged });
      expect((await check({ measure: true })).speed.tokensPerSecond).toBeGreaterThan(0);
    }
    expect(measurements()).toBe(2);
  });
  it("is not told where nothing can be measured, where a CPU does the work, or where nothing is decoded", async () => {
    browser({
      requestAdapter: async () => ({
        ...(await timedDevice(true).gpu.requestAdapter()),
        info: { ...INFO, device: "broken" },
      }),
    });
    const found = await check({ measure: true });
    expect([found.runs, found.speed.why]).toEqual([true, "The device could not be measured."]);
    browser(device({ info: { description: "SwiftShader" } }).gpu);
    const software = await check({ measure: true });
    expect([software.adapter!.software, software.speed.tokensPerSecond]).toEqual([true, null]);
    expect(software.speed.why).toMatch(/CPU/);
    browser(device().gpu);
    const texts = serve(({ tiers }) => {
      tiers[0].cost.token_launches = 0;
    });
    expect((await check({ fetch: texts, measure: true })).speed.why).toBe("The model decodes no tokens.");
  });
});

describe("a catalog's model", () => {
  const CATALOG = "https://x.test/catalog.json";
  const fetch =
    (features: string[]): FetchLike =>
    async (url, init) => {
      if (url !== CATALOG) return serve((json) => (json.tiers[0].features = features))(url, init);
      const { name, model, tiers } = manifestJson();
      const memory = [{ context: 64, bytes: 1672 }];
      const { family, quantization, parameters, context_length, licence } = model;
      const tier = { name: tiers[0].name, features, limits: {}, memory };
      const facts = { family, quantization, parameters, context_length, licence, bytes: 1000, tiers: [tier] };
      const entry = { id: name, model: "a/b", ...facts, manifest_sha256: "0".repeat(64), url: "m/" };
      return new Response(JSON.stringify({ format: "mlcweb-catalog", version: 1, models: [entry] }));
    };
  it("is checked by its name, also where no bundle of it runs", async () => {
    browser(device().gpu);
    const ask = (features: string[]): Promise<EngineCheck> =>
      Engine.check({ catalog: CATALOG, model: "b" }, { fetch: fetch(features), measure: false });
    expect(await ask([])).toMatchObject({ runs: true, url: URL_, warnings: [{ code: "stale" }] });
    expect(await ask(["shader-f16"])).toMatchObject({ runs: false, missing: { features: ["shader-f16"] } });
  });
});

describe("what keeps a bundle from running", () => {
  /** Both say the same, and neither asks for more than the manifest. */
  async function both(fetch = serve(), options: CheckOptions = {}): Promise<EngineCheck> {
    const found = await check({ fetch, ...options });
    const error = await refusal({ fetch, ...options });
    expect([found.runs, found.speed]).toEqual([false, NO_MODEL]);
    expect(found.reasons[0]).toEqual({ code: error.code, message: error.message, hint: error.hint });
    expect(new Set(asked)).toEqual(new Set([MANIFEST]));
    return found;
  }

  it("no WebGPU", async () => {
    browser(undefined);
    const found = await both();
    expect(found).toMatchObject({ tier: null, adapter: null, reasons: [{ code: "no-webgpu" }] });
    expect(found.memory.total).toBe(1160 + 4 * 128); // as far as it can be told
  });
  it("a page that is not secure", async () => {
    browser(undefined);
    vi.stubGlobal("isSecureContext", false);
    expect((await both()).reasons[0]!.message).toMatch(/not secure/);
  });
  it("WebGPU without an adapter", async () => {
    browser({ requestAdapter: async () => null });
    expect((await both()).reasons[0]).toMatchObject({
      code: "no-webgpu",
      message: "This browser has WebGPU, but it offers no GPU adapter.",
    });
  });
  it("a feature, and a limit", async () => {
    browser(device({ limits: { maxComputeWorkgroupStorageSize: 16384 } }).gpu);
    const needs = serve(({ tiers }) => {
      tiers[0].features = ["shader-f16"];
      tiers[0].limits = { maxComputeWorkgroupStorageSize: 32768, maxThings: 3 };
    });
    expect(await both(needs)).toMatchObject({
      tier: null,
      reasons: [{ code: "missing-feature" }],
      missing: {
        features: ["shader-f16"],
        limits: [
          { name: "maxComputeWorkgroupStorageSize", needed: 32768, has: 16384 },
          { name: "maxThings", needed: 3, has: null },
        ],
      },
    });
  });
  it("a KV cache that is larger than a buffer may be", async () => {
    browser(device().gpu);
    const large = serve(({ tiers, model }) => {
      model.context_length = 4096;
      tiers[0].cost.kv_largest_page = 2 ** 20;
    });
    const found = await both(large, { contextLength: 4096 });
    expect([found.tier, found.reasons[0]!.message]).toEqual([
      "base",
      `The largest buffer has ${2 ** 28} bytes; this GPU admits ${2 ** 27}.`,
    ]);
    expect((await check({ fetch: large, contextLength: 1024 })).runs).toBe(true);
  });
  it("an adapter that says more of its limits than it gives", async () => {
    const { gpu, left } = device({ limits: { maxBufferSize: 2 ** 31 }, refuses: "limit exceeded" });
    browser(gpu);
    const large = serve(({ tiers }) => {
      tiers[0].limits = { maxBufferSize: 2 ** 30 };
    });
    expect((await check({ fetch: large })).reasons).toEqual([
      {
        code: "missing-feature",
        message: "This GPU says that it has maxBufferSize ≥ 1073741824, and gives no device with that: limit exceeded",
        hint: expect.stringMatching(/tier that needs less/) as string,
      },
    ]);
    expect(left()).toBe(0);
  });
  it("a buffer that is refused, of the size that a load begins with", async () => {
    const { gpu, left } = device({ most: 100 });
    browser(gpu);
    expect((await check({ firstTokens: 32 })).reasons).toMatchObject([{ code: "out-of-memory" }]);
    expect(left()).toBe(0);
    browser(device({ most: 160 }).gpu);
    expect((await check({ firstTokens: 32 })).runs).toBe(true);
    expect((await check({ firstTokens: 64 })).reasons).toMatchObject([{ code: "out-of-memory" }]);
  });
  it("a device that does not open for no reason of ours", async () => {
    browser(device({ refuses: "busy", always: true }).gpu);
    expect((await check()).reasons[0]).toMatchObject({
      code: "no-webgpu",
      message: "The GPU device could not be opened: busy",
    });
  });
  it("a Content-Security-Policy without wasm-unsafe-eval, told by its directive", async () => {
    browser(device().gpu);
    vi.stubGlobal("WebAssembly", { compile: () => Promise.reject(new EvalError("refused")) });
    const { reasons } = await both();
    expect(reasons).toMatchObject([{ code: "no-wasm" }]);
    expect(reasons[0]!.message).toMatch(/lacks script-src 'wasm-unsafe-eval'/);
    expect((await refusal()).directive).toBe("script-src 'wasm-unsafe-eval'");
  });
  it("a browser without WebAssembly, and all that is missing beside it", async () => {
    browser(undefined);
    vi.stubGlobal("WebAssembly", undefined);
    const { reasons } = await both();
    expect(reasons.map(({ code }) => code)).toEqual(["no-wasm", "no-webgpu"]);
    expect((await refusal()).directive).toBeUndefined();
  });
});

describe("the CPU's tier", () => {
  const RELAXED = `k.00000002.wasm`;
  const cost = { weights: 160, kv_page: 128, kv_largest_page: 64, other: 500, token_weights: 100, token_launches: 9 };
  const both = (other = cost.other): FetchLike =>
    serve((json) => {
      json.files[RELAXED] = { bytes: 7, sha256: `00000002${"0".repeat(56)}` };
      const wasm = { ...json.tiers[0], name: "wasm", limits: {}, relaxed: RELAXED, cost: { ...cost, other } };
      json.tiers.push(wasm);
    });

  it("runs without WebGPU, and why there is none is told", async () => {
    browser(undefined);
    const found = await check({ fetch: both(), contextLength: 40, firstTokens: 16, measure: true });
    expect(found).toMatchObject({
      runs: true,
      reasons: [],
      tier: "wasm",
      missing: { features: [], limits: [] },
      adapter: null,
      noWebGPU: { code: "no-webgpu", message: "This browser has no WebGPU." },
      memory: { weights: 160, kv: 3 * 128, other: 500, total: 660 + 3 * 128, atLoad: 660 + 3 * 128 },
      speed: { tokensPerSecond: null, why: expect.stringMatching(/CPU/) as string },
    });
    const { files, tiers } = manifest();
    const relaxed = TOTAL + 7 - files.get(tiers[0]!.kernels)!.bytes; // its kernels are in place of the others
    const { compile } = WebAssembly;
    vi.stubGlobal("WebAssembly", { compile, validate: () => true });
    expect((await check({ fetch: both() })).download.total).toBe(relaxed);
    vi.stubGlobal("WebAssembly", { compile, validate: (module: Uint8Array) => module.length < 32 });
    expect((await check({ fetch: both() })).download.total).toBe(TOTAL);
  });
  it("is taken by name beside a GPU, and not instead of one", async () => {
    browser(device().gpu);
    expect(await check({ fetch: both(), tier: "wasm" })).toMatchObject({ tier: "wasm", adapter: null, noWebGPU: null });
    expect(await check({ fetch: both() })).toMatchObject({ tier: "base" });
    browser(undefined);
    expect(await check({ fetch: both(), tier: "base" })).toMatchObject({
      runs: false,
      tier: null,
      reasons: [{ code: "no-webgpu" }],
      missing: { features: ["WebGPU"], limits: [] },
      noWebGPU: { code: "no-webgpu" },
    });
  });
  it("needs SIMD, and room in a WebAssembly memory", async () => {
    browser(undefined);
    const { compile } = WebAssembly;
    vi.stubGlobal("WebAssembly", { compile, validate: () => false });
    expect((await check({ fetch: both() })).reasons).toMatchObject([
      { code: "missing-feature", message: expect.stringMatching(/has no SIMD/) as string },
    ]);
    vi.unstubAllGlobals();
    browser(undefined);
    expect(await check({ fetch: both(2 ** 32) })).toMatchObject({ runs: false, reasons: [{ code: "out-of-memory" }] });
  });
});

describe("storage", () => {
  it("that is small is warned of, by a check and by a load, and stops neither", async () => {
    browser(device().gpu, TOTAL + 10, 11);
    keeping();
    expect(await check()).toMatchObject({ runs: true, warnings: [{ code: "storage-small" }] });
    expect((await check({ cache: false })).warnings).toEqual([]);
    browser(device().gpu, TOTAL, 0);
    expect((await check()).warnings).toEqual([]);
    const codes = async (quota: number, cache = true): Promise<string[]> => {
      browser(device().gpu, quota);
      const met: string[] = [];
      const fetch: FetchLike = async (url, init) =>
        url === MANIFEST ? serve()(url, init) : new Response(new Uint8Array(100));
      await Engine.load(URL_, { fetch, cache, onWarning: ({ code }) => met.push(code) }).catch(() => {});
      return met;
    };
    const { weightBytes } = manifest(); // of which a load knows before it knows the tier
    expect([await codes(weightBytes - 1), await codes(weightBytes), await codes(weightBytes - 1, false)]).toEqual([
      ["storage-small"],
      [],
      [],
    ]);
  });
  it("that the page may not use is told", async () => {
    vi.stubGlobal("navigator", { gpu: device().gpu, storage: storage() });
    Object.defineProperty(globalThis, "caches", {
      configurable: true,
      get: () => {
        throw new DOMException("sandboxed", "SecurityError");
      },
    });
    try {
      expect(await check()).toMatchObject({
        runs: true,
        download: { kept: 0 },
        storage: { quota: null, used: null, left: null, persisted: null },
        warnings: [{ code: "storage-full", message: expect.stringMatching(/not kept.*sandboxed/) as string }],
      });
    } finally {
      Reflect.deleteProperty(globalThis, "caches");
    }
  });
});

describe("a check rejects", () => {
  beforeEach(() => browser(undefined));
  it("where there is no manifest", async () => {
    const fetch: FetchLike = async () => new Response("", { status: 404 });
    await expect(check({ fetch })).rejects.toThrow(BundleError);
  });
  it("offline", async () => {
    vi.useFakeTimers();
    const fetch: FetchLike = async () => {
      throw new TypeError("Failed to fetch");
    };
    const running = expect(check({ fetch })).rejects.toThrow(NetworkError);
    await vi.runAllTimersAsync();
    await running;
    vi.useRealTimers();
  });
  it("for what load refuses of its options", async () => {
    browser(device().gpu);
    await expect(check({ contextLength: 65 })).rejects.toThrow(InvalidRequestError);
    await expect(check({ firstTokens: 0 })).rejects.toThrow(InvalidRequestError);
    await expect(check({ tier: "none" })).rejects.toThrow(/the bundle has no tier none/);
  });
  it("when its signal fires", async () => {
    const stop = new AbortController();
    const fetch: FetchLike = (url, init) => {
      stop.abort();
      return serve()(url, init);
    };
    await expect(check({ signal: AbortSignal.abort() })).rejects.toThrow(CancelledError);
    await expect(check({ fetch, signal: stop.signal })).rejects.toThrow(CancelledError);
  });
});

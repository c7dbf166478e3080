import { afterEach, describe, expect, it, vi } from "vitest";
import type { FetchLike } from "../src/bundle/index.js";
import { chooseModel, listModels } from "../src/catalog/index.js";
import type { CatalogModel } from "../src/contract/index.js";
import { Engine } from "../src/engine/index.js";
import { BundleError, CancelledError, InvalidRequestError, MissingFeatureError, NetworkError } from "../src/errors.js";

afterEach(() => vi.unstubAllGlobals());

const CATALOG = "https://cdn.test/models/catalog.json";

function model(quantization: string, bytes: number, more: Partial<CatalogModel> = {}): CatalogModel {
  const id = `Small-${quantization}`;
  const memory = [
    { context: 1024, bytes: bytes + 1 },
    { context: 4096, bytes: bytes + 4 },
    { context: 8192, bytes: bytes + 8 },
  ];
  return {
    id,
    model: "org/Small",
    family: "llama",
    quantization,
    parameters: 1000,
    context_length: 8192,
    bytes,
    tiers: [
      { name: "f16", features: ["shader-f16"], limits: {}, memory },
      { name: "base", features: [], limits: {}, memory: memory.map((one) => ({ ...one, bytes: one.bytes + 100 })) },
    ],
    licence: "mit",
    manifest_sha256: "0".repeat(64),
    url: `${id}/`,
    ...more,
  };
}

const only = (name: string, quantization: string, bytes: number, feature: string): CatalogModel => {
  const [tier] = model(quantization, bytes).tiers;
  const id = `${name}-${quantization}`;
  return model(quantization, bytes, {
    id,
    model: name,
    url: `${id}/`,
    tiers: [{ ...tier!, features: [feature as "shader-f16"] }],
  });
};

const serve =
  (models: readonly CatalogModel[], asked: string[] = []): FetchLike =>
  async (url) => {
    asked.push(String(url));
    return new Response(JSON.stringify({ format: "mlcweb-catalog", version: 1, models }));
  };

function device(features: readonly string[], info: object = {}): void {
  const adapter = {
    features: new Set(features),
    limits: {},
    info: { architecture: "", device: "", description: "", ...info },
  };
  vi.stubGlobal("navigator", { gpu: { requestAdapter: async () => adapter } });
}

/** A Cache API that keeps things. */
function keeping(): Map<string, string> {
  const kept = new Map<string, string>();
  const cache = {
    match: async (key: string) => (kept.has(key) ? new Response(kept.get(key)!) : undefined),
    put: async (key: string, value: Response) => void kept.set(key, await value.text()),
  };
  vi.stubGlobal("caches", { open: async () => cache });
  return kept;
}

describe("a catalog's models", () => {
  const MODELS = [model("q8f16_1", 900), model("q4f16_1", 500), only("Half", "q4f16_1", 100, "shader-f16")];

  it("are listed with what fits first, the smallest download first, and their URLs", async () => {
    device([]);
    const asked: string[] = [];
    const listed = await listModels("https://cdn.test/models/?key=1", { fetch: serve(MODELS, asked) });
    expect(asked).toEqual([`${CATALOG}?key=1`]);
    expect(listed.map(({ id, fits, tier, url }) => [id, fits, tier, url])).toEqual([
      ["Small-q4f16_1", true, "base", "https://cdn.test/models/Small-q4f16_1/?key=1"],
      ["Small-q8f16_1", true, "base", "https://cdn.test/models/Small-q8f16_1/?key=1"],
      ["Half-q4f16_1", false, undefined, "https://cdn.test/models/Half-q4f16_1/?key=1"],
    ]);
    expect(listed[2]).toMatchObject({ missing: ["shader-f16"], why: "This GPU lacks shader-f16." });
    expect(listed[0]!.why).toBeUndefined();
  });

  it("tell the GPU memory of the tier and the context", async () => {
    device(["shader-f16"]);
    const memory = async (contextLength?: number): Promise<number> => {
      const listed = await listModels(CATALOG, { fetch: serve(MODELS), contextLength });
      return listed.find(({ id }) => id === "Small-q4f16_1")!.memory;
    };
    expect([await memory(), await memory(1000), await memory(4097), await memory(100_000)]).toEqual([
      504, 501, 508, 508,
    ]);
  });

  it("fit nowhere without WebGPU, and the browser's reason is told", async () => {
    vi.stubGlobal("navigator", {});
    const listed = await listModels(CATALOG, { fetch: serve(MODELS) });
    expect(listed.every(({ fits, missing }) => !fits && missing.join() === "WebGPU")).toBe(true);
    expect(listed[0]!.why).toBe("This browser has no WebGPU.");
  });

  it("run on the CPU without WebGPU where they have the tier for that, and nowhere without WebAssembly", async () => {
    const tiers = ["base", "wasm"].map((name) => ({ ...model("q4f32_1", 1).tiers[1]!, name: name as "base" }));
    const both = [model("q4f32_1", 300, { tiers })];
    const first = async () => (await listModels("https://cdn.test/models/", { fetch: serve(both) }))[0]!;
    vi.stubGlobal("navigator", {});
    expect(await first()).toMatchObject({ fits: true, tier: "wasm", missing: [], why: undefined });
    device([]);
    expect((await first()).tier).toBe("base");
    vi.stubGlobal("WebAssembly", { compile: () => Promise.reject(new EvalError("refused")) });
    const { fits, missing, why } = await first();
    expect([fits, missing]).toEqual([false, ["WebAssembly"]]);
    expect(why).toMatch(/wasm-unsafe-eval/);
  });

  it("take the software tier on an adapter that is a CPU, and no GPU does where there is another", async () => {
    const tiers = ["base", "software"].map((name) => ({ ...model("q4f32_1", 1).tiers[1]!, name: name as "base" }));
    const both = [model("q4f32_1", 300, { tiers })];
    device([], { description: "SwiftShader" });
    expect((await listModels(CATALOG, { fetch: serve(both) }))[0]!.tier).toBe("software");
    device([]);
    expect((await listModels(CATALOG, { fetch: serve(both) }))[0]!.tier).toBe("base");
  });
});

describe("a model of a catalog", () => {
  const MODELS = [
    model("q8f16_1", 900),
    model("q4f16_1", 500),
    model("q3f16_1", 400),
    only("Half", "q4f16_1", 100, "shader-f16"),
    only("Half", "q4f32_1", 300, "subgroups"),
  ];
  const choose = (name: string, more = {}): Promise<string> =>
    chooseModel(CATALOG, name, { fetch: serve(MODELS), ...more }).then(({ id }) => id);

  it.each(["org/Small", "Small", "small", "ORG/SMALL"])(
    "is the smallest download that is not of 3 bits: %s",
    async (name) => {
      device([]);
      expect(await choose(name)).toBe("Small-q4f16_1");
    },
  );
  it("is the quantization that the page asks for, or refused by name", async () => {
    device([]);
    expect(await choose("Small", { quantization: "q3f16_1" })).toBe("Small-q3f16_1");
    await expect(choose("Small", { quantization: "q0f16" })).rejects.toMatchObject({
      param: "quantization",
      message: expect.stringMatching(/the catalog has Small in .*q8f16_1/),
    });
  });
  it("is a bundle by its id, also by WebLLM's", async () => {
    device([]);
    for (const id of ["Small-q8f16_1", "Small-q8f16_1-MLC", "Small-q8f16_1-MLC-1k"])
      expect(await choose(id)).toBe("Small-q8f16_1");
  });
  it("is one that this device can run", async () => {
    device(["subgroups"]);
    expect(await choose("Half")).toBe("Half-q4f32_1");
    device([]);
    await expect(choose("Half")).rejects.toThrow(MissingFeatureError);
    await expect(choose("Half")).rejects.toThrow("Half does not run here: This GPU lacks shader-f16.");
  });
  it("is refused where the catalog has none, with those that it has", async () => {
    device([]);
    await expect(choose("Smal")).rejects.toThrow(InvalidRequestError);
    await expect(choose("Smal")).rejects.toMatchObject({ param: "model", hint: "It has org/Small, Half." });
    await expect(chooseModel(CATALOG, "x", { fetch: serve([]) })).rejects.toMatchObject({
      hint: "The catalog is empty.",
    });
  });
});

describe("an engine", () => {
  it("loads the catalog's bundle that suits the device", async () => {
    device([]);
    const asked: string[] = [];
    const fetch: FetchLike = async (url, init) => {
      asked.push(String(url));
      if (String(url).endsWith("catalog.json")) return serve([model("q8f16_1", 900), model("q4f16_1", 500)])(url, init);
      return new Response("", { status: 404 });
    };
    const source = { catalog: "https://cdn.test/models/", model: "Small" };
    await expect(Engine.load(source, { fetch })).rejects.toThrow("There is no bundle at");
    expect(asked).toEqual([CATALOG, "https://cdn.test/models/Small-q4f16_1/mlcweb.json"]);
    await expect(Engine.load({ ...source, quantization: "q8f16_1" }, { fetch })).rejects.toThrow(BundleError);
    expect(asked.at(-1)).toBe("https://cdn.test/models/Small-q8f16_1/mlcweb.json");
  });
  it("refuses a source that is none, by name", async () => {
    await expect(Engine.load({ catalog: "", model: "Small" })).rejects.toMatchObject({ param: "catalog" });
    await expect(Engine.load({ catalog: CATALOG } as never)).rejects.toMatchObject({ param: "model" });
  });
});

describe("reading a catalog", () => {
  const text =
    (body: BodyInit, init?: ResponseInit): FetchLike =>
    async () =>
      new Response(body, init);
  const list = (fetch: FetchLike, more = {}): Promise<unknown> => listModels(CATALOG, { fetch, backoffMs: 1, ...more });

  it.each([
    ["no JSON", text("nonsense"), "catalog.json is not JSON"],
    ["a page", text("<!doctype html><p>", { headers: { "Content-Type": "text/html" } }), "A web page came"],
    ["another version", text('{"format": "mlcweb-catalog", "version": 9, "models": []}'), "version"],
    ["no UTF-8", text(new Uint8Array([0x7b, 0xff, 0x7d])), "catalog.json is not UTF-8"],
    ["404", text("", { status: 404 }), "catalog.json is missing"],
    ["503", text("", { status: 503 }), "answered 503"],
    ["a folder above", serve([model("q4f16_1", 1, { url: "../x/" })]), "url"],
  ] as [string, FetchLike, string][])("that is %s says so", async (_, fetch, message) => {
    device([]);
    await expect(list(fetch)).rejects.toThrow(message);
  });

  it("uses the kept one without a network, and warns", async () => {
    device([]);
    const kept = keeping();
    await listModels(`${CATALOG}?token=secret`, { fetch: serve([model("q4f16_1", 1)]) });
    expect([...kept.keys()]).toEqual([CATALOG]);
    const warnings: string[] = [];
    const onWarning = ({ code }: { code: string }): void => void warnings.push(code);
    const gone: FetchLike = async () => {
      throw new TypeError("Failed to fetch");
    };
    expect(await list(gone, { onWarning })).toHaveLength(1);
    expect(warnings).toEqual(["offline"]);
    await expect(list(gone, { cache: false })).rejects.toThrow(NetworkError);
    await expect(list(text("nonsense"))).rejects.toThrow(BundleError); // a defect is not hidden by what was kept
  });

  it("is cancelled by its signal", async () => {
    device([]);
    const controller = new AbortController();
    const hanging: FetchLike = (_, init) =>
      new Promise((_, reject) => init!.signal!.addEventListener("abort", () => reject(init!.signal!.reason)));
    const listing = list(hanging, { signal: controller.signal });
    setTimeout(() => controller.abort(), 5);
    await expect(listing).rejects.toThrow(CancelledError);
  });

  it.each(["https://", "http://[", ""])("refuses %j, which is no URL", async (url) => {
    device([]);
    await expect(listModels(url, { fetch: serve([]) })).rejects.toThrow(BundleError);
  });
});

import { describe, expect, it } from "vitest";
import { locate, Place } from "../src/webllm/locate.js";

describe("a record's model", () => {
  const find = (model: string, base?: string): string =>
    new Place(base).find("x", { model_list: [{ model, model_id: "x", model_lib: "" }] }, true).url;
  it("is a folder of the base, or a URL", () => {
    expect(find("y", "https://a.example/m?t=1")).toBe("https://a.example/m/y?t=1");
    expect(find("https://b.example/y/", "https://a.example/m")).toBe("https://b.example/y/");
    expect(find("//b.example/y", "https://a.example/m")).toBe("//b.example/y");
  });

  it("on the hub means the files of its main branch", () => {
    const main = "https://huggingface.co/me/y/resolve/main/";
    for (const url of ["https://huggingface.co/me/y", "https://huggingface.co/me/y/"]) expect(find(url)).toBe(main);
    expect(find(main)).toBe(main);
    expect(find("https://huggingface.co/me/y/resolve/main")).toBe("https://huggingface.co/me/y/resolve/main");
    expect(find("https://huggingface.co/me/y?download=true")).toBe(`${main}?download=true`);
    expect(find("https://huggingface.co/me/y/resolve/v2/")).toBe("https://huggingface.co/me/y/resolve/v2/");
  });
});

describe("WebLLM's model ids", () => {
  const base = "https://models.example/dist";
  it("are bundles' names without MLC's ending", () => {
    expect(locate("Llama-3.2-3B-Instruct-q4f32_1-MLC", base)).toEqual({ url: `${base}/Llama-3.2-3B-Instruct-q4f32_1` });
    expect(locate("gemma3-1b-it-q4f16_1-MLC", `${base}/`)).toEqual({ url: `${base}/gemma3-1b-it-q4f16_1` });
    expect(locate("phi-2-q4f16_1-MLC", undefined)).toEqual({ url: "phi-2-q4f16_1" });
  });

  it("may ask for a short context", () => {
    expect(locate("phi-2-q4f16_1-MLC-1k", base)).toEqual({ url: `${base}/phi-2-q4f16_1`, contextLength: 1024 });
  });

  it("are left alone where they are ours, or say where to go", () => {
    expect(locate("My-MLC-model-q4f16_1", base)).toEqual({ url: `${base}/My-MLC-model-q4f16_1` });
    for (const url of ["https://a.example/phi-2-q4f16_1-MLC", "//a.example/x", "HTTP://a.example/x"]) {
      expect(locate(url, base)).toEqual({ url });
    }
    expect(locate("mine/x-MLC", base)).toEqual({ url: `${base}/mine/x-MLC` });
    expect(locate("./bundles/x-MLC", undefined)).toEqual({ url: "./bundles/x-MLC" });
  });

  it("and where to go may have a query, which stays at the end", () => {
    for (const at of [`${base}?token=a/b`, `${base}/?token=a/b#x`]) {
      expect(locate("phi-2-q4f16_1-MLC-1k", at)).toEqual({
        url: `${base}/phi-2-q4f16_1?token=a/b`,
        contextLength: 1024,
      });
      expect(locate("mine/x", at)).toEqual({ url: `${base}/mine/x?token=a/b` });
      expect(locate("phi-2-q4f16_1-MLC?v=2", at)).toEqual({ url: `${base}/phi-2-q4f16_1?token=a/b&v=2` });
    }
    expect(locate("phi-2-q4f16_1-MLC?sig=a/b-MLC", undefined)).toEqual({ url: "phi-2-q4f16_1?sig=a/b-MLC" });
    expect(locate("https://a.example/x?sig=a/b-MLC", base)).toEqual({ url: "https://a.example/x?sig=a/b-MLC" });
  });
});

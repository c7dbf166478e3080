// Opens a bundle on the engine that `make engine` built.

export async function open({ bundle, ...options }) {
  const { Engine } = await import("/engine/mlcweb.js");
  const engine = await Engine.load(bundle, { selfCheck: false, ...options });
  const { name, tier, threads } = engine.info;
  return {
    about: `${name}, tier ${tier}${threads ? `, ${threads} thread${threads > 1 ? "s" : ""}` : ""}`,
    close: () => engine.unload(),
    count: async (text) => engine.encode(text).length,
    async *answer(text, tokens) {
      await engine.reset();
      const prompt = engine.encode(text);
      for await (const _ of engine.generate(prompt, { max_tokens: tokens, temperature: 0, stop_tokens: [] }))
        yield { promptTokens: prompt.length };
    },
  };
}

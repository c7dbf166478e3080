// Opens a bundle on the engine that `make engine` built.

export async function open({ bundle }) {
  const { Engine } = await import("/engine/mlcweb.js");
  const engine = await Engine.load(bundle, { cache: false, selfCheck: false });
  return {
    about: `${engine.info.name}, tier ${engine.info.tier}`,
    count: async (text) => engine.encode(text).length,
    async *answer(text, tokens) {
      await engine.reset();
      const prompt = engine.encode(text);
      for await (const _ of engine.generate(prompt, { max_tokens: tokens, temperature: 0, stop_tokens: [] }))
        yield { promptTokens: prompt.length };
    },
  };
}

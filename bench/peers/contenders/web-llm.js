// Opens WebLLM, MLC's runtime, with a model library and weights that the user has.
import { CreateMLCEngine } from "/modules/@mlc-ai/web-llm/lib/index.js";

export async function open({ library, model, contextLength }) {
  const record = {
    model_id: "model",
    model: new URL(model, location.href).href,
    model_lib: new URL(library, location.href).href,
    overrides: { context_window_size: contextLength },
  };
  const engine = await CreateMLCEngine("model", { appConfig: { model_list: [record] }, logLevel: "ERROR" });
  return {
    about: "model library given",
    async *answer(prompt, tokens) {
      await engine.resetChat();
      const chunks = await engine.completions.create({
        prompt,
        max_tokens: tokens,
        temperature: 0,
        ignore_eos: true,
        stream: true,
        stream_options: { include_usage: true },
      });
      for await (const chunk of chunks) {
        if (chunk.usage)
          yield { end: true, promptTokens: chunk.usage.prompt_tokens, tokens: chunk.usage.completion_tokens };
        else if (!chunk.choices[0]?.finish_reason) yield {};
      }
    },
  };
}

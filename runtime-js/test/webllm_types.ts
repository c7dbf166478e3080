// Uses every type that npm's @mlc-ai/web-llm 0.2.86 exports, as apps do; tsc checks it, from both of the package's
// doors, and nothing runs it.
import type * as root from "../src/root.js";
import * as webllm from "../src/webllm/index.js";

/** All of its types. One that is not there does not compile. */
export type All = [
  webllm.AppConfig,
  webllm.ChatCompletion,
  webllm.ChatCompletionAssistantMessageParam,
  webllm.ChatCompletionAudioInput,
  webllm.ChatCompletionAudioInputPCM,
  webllm.ChatCompletionAudioInputWav,
  webllm.ChatCompletionChunk,
  webllm.ChatCompletionContentPart,
  webllm.ChatCompletionContentPartImage,
  webllm.ChatCompletionContentPartInputAudio,
  webllm.ChatCompletionContentPartText,
  webllm.ChatCompletionFinishReason,
  webllm.ChatCompletionMessage,
  webllm.ChatCompletionMessageParam,
  webllm.ChatCompletionMessageToolCall,
  webllm.ChatCompletionNamedToolChoice,
  webllm.ChatCompletionRequest,
  webllm.ChatCompletionRequestBase,
  webllm.ChatCompletionRequestNonStreaming,
  webllm.ChatCompletionRequestStreaming,
  webllm.ChatCompletionRole,
  webllm.ChatCompletionSystemMessageParam,
  webllm.ChatCompletionTokenLogprob,
  webllm.ChatCompletionTool,
  webllm.ChatCompletionToolChoiceOption,
  webllm.ChatCompletionToolMessageParam,
  webllm.ChatCompletionUserMessageParam,
  webllm.ChatOptions,
  webllm.CompiledProgramArtifact,
  webllm.Completion,
  webllm.CompletionChoice,
  webllm.CompletionCreateParams,
  webllm.CompletionCreateParamsBase,
  webllm.CompletionCreateParamsNonStreaming,
  webllm.CompletionCreateParamsStreaming,
  webllm.CompletionUsage,
  webllm.CreateEmbeddingResponse,
  webllm.CustomRequestParams,
  webllm.Embedding,
  webllm.EmbeddingCreateParams,
  webllm.FileIntegrityMap,
  webllm.FunctionDefinition,
  webllm.FunctionParameters,
  webllm.GenerationConfig,
  webllm.InitProgressCallback,
  webllm.InitProgressReport,
  webllm.LogLevel,
  webllm.LogitProcessor,
  webllm.MLCEngineConfig,
  webllm.MLCEngineInterface,
  webllm.ModelIntegrity,
  webllm.ModelPackageManifest,
  webllm.ModelRecord,
  webllm.ModelType,
  webllm.OPFSAccessMode,
  webllm.ResponseFormat,
  webllm.ResumableGenerationConfig,
  webllm.ResumeChatCompletionOptions,
  webllm.ResumeProbeResult,
  webllm.ResumeResult,
  webllm.SRIString,
  webllm.TopLogprob,
  webllm.WorkerRequest,
  webllm.WorkerResponse,
  // by the names of namespaces
  webllm.ChatCompletion.Choice,
  webllm.ChatCompletion.Choice.Logprobs,
  webllm.ChatCompletionChunk.Choice,
  webllm.ChatCompletionChunk.Choice.Delta,
  webllm.ChatCompletionChunk.Choice.Delta.ToolCall,
  webllm.ChatCompletionChunk.Choice.Delta.ToolCall.Function,
  webllm.ChatCompletionChunk.Choice.Logprobs,
  webllm.ChatCompletionContentPartImage.ImageURL,
  webllm.ChatCompletionMessageToolCall.Function,
  webllm.ChatCompletionNamedToolChoice.Function,
  webllm.CreateEmbeddingResponse.Usage,
];

/** What the package's root has by the same names is the same. */
export type Same = [
  root.ChatCompletion extends webllm.ChatCompletion ? true : never,
  root.ChatCompletionChunk extends webllm.ChatCompletionChunk ? true : never,
  root.ResponseFormat extends webllm.ResponseFormat ? true : never,
  root.MLCEngine extends webllm.MLCEngineInterface ? true : never,
];
export const same: Same = [true, true, true, true];

export async function uses(): Promise<void> {
  const initProgressCallback = (report: webllm.InitProgressReport): void => console.log(report.text, report.progress);
  const appConfig: webllm.AppConfig = {
    model_list: [
      {
        model: "https://a.example/x",
        model_id: "x",
        model_lib: `${webllm.modelLibURLPrefix}${webllm.modelVersion}/x.wasm`,
        required_features: ["shader-f16"],
        overrides: { context_window_size: 2048, conv_template: { seps: [""] } },
        model_type: webllm.ModelType.LLM,
      },
    ],
    cacheBackend: "indexeddb",
  };
  const engine: webllm.MLCEngineInterface = await webllm.CreateMLCEngine(
    "x",
    { initProgressCallback, logLevel: "INFO", appConfig },
    { context_window_size: 1024, temperature: 0.5 },
  );
  const messages: webllm.ChatCompletionMessageParam[] = [
    { role: "system", content: "x" },
    { role: "user", content: [{ type: "text", text: "x" }] },
    { role: "assistant", content: null, tool_calls: [] },
    { role: "tool", content: "x", tool_call_id: "0" },
  ];
  const tools: Array<webllm.ChatCompletionTool> = [
    { type: "function", function: { name: "f", description: "d", parameters: { type: "object" } } },
  ];
  const request: webllm.ChatCompletionRequest = {
    messages,
    tools,
    tool_choice: "auto",
    stream: true,
    stream_options: { include_usage: true },
    response_format: { type: "json_object", schema: "{}" } as webllm.ResponseFormat,
    extra_body: { enable_thinking: false, enable_latency_breakdown: true },
  };
  const chunks: AsyncIterable<webllm.ChatCompletionChunk> = await engine.chat.completions.create(request);
  let usage: webllm.CompletionUsage | undefined;
  for await (const chunk of chunks) {
    const delta: webllm.ChatCompletionChunk.Choice.Delta | undefined = chunk.choices[0]?.delta;
    console.log(delta?.content, delta?.tool_calls?.[0]?.function?.name);
    usage = chunk.usage;
  }
  const reply: webllm.ChatCompletion = await engine.chat.completions.create({ messages, logprobs: true, seed: 1 });
  const text: string | null = reply.choices[0]!.message.content;
  const base: webllm.ChatCompletionRequestBase = { messages };
  const either: AsyncIterable<webllm.ChatCompletionChunk> | webllm.ChatCompletion = await engine.chatCompletion(base);
  const completion: webllm.Completion = await engine.completions.create({ prompt: "x", echo: true });
  const embedding: webllm.CreateEmbeddingResponse = await engine.embeddings.create({ input: ["x"] });
  const time: number | undefined = usage?.extra.latencyBreakdown?.sampleTime[0];
  console.log(
    text,
    either,
    completion.choices[0]!.text,
    embedding.data[0]!.embedding,
    time,
    usage?.extra.e2e_latency_s,
  );
  const worker: webllm.MLCEngineInterface = await webllm.CreateWebWorkerMLCEngine({} as Worker, "x", { appConfig });
  await worker.reload(["x"], [{ top_p: 1 }]);
}

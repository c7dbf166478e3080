// Prints llama.cpp's greedy answers on the CPU as {answers: token ids}. The argument is a JSON file {gguf, prompts:
// token ids, count}.
import { readFile } from "node:fs/promises";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const { gguf, prompts, count } = JSON.parse(await readFile(process.argv[2], "utf8"));
// "never": the prebuilt binary of the package, nothing is downloaded or built
const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: gguf, gpuLayers: 0 });
// one thread: where the cores are shared, ggml's threads spin at their barriers for minutes
const longest = Math.max(...prompts.map((prompt) => prompt.length));
const context = await model.createContext({ contextSize: longest + count, threads: 1 });
const sequence = context.getSequence();
const answers = [];
for (const prompt of prompts) {
  await sequence.clearHistory();
  const answer = [];
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    answer.push(token);
    if (answer.length === count) break;
  }
  answers.push(answer);
}
process.stdout.write(JSON.stringify({ answers }));
await llama.dispose();

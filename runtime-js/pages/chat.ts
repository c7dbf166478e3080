// The chat page that `mlcweb serve` shows. Its bundle is ./bundle/, or ?bundle=URL.
import { deleteFromCache, Engine, type ChatMessage, type LoadProgress, type Usage } from "mlcweb";
import { explain } from "./explain.js";
import { render } from "./markdown.js";

const $ = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const bundle = new URLSearchParams(location.search).get("bundle") ?? "./bundle/";
const MIB = 2 ** 20;

let engine: Engine | undefined;
let loading: AbortController | undefined;
let busy = false;
let history: ChatMessage[] = [];

function show(part: "loading" | "failure" | "chat"): void {
  $("loading").hidden = part !== "loading";
  $("failure").hidden = part !== "failure";
  $("messages").hidden = $("composer").hidden = part !== "chat";
  $<HTMLButtonElement>("new").disabled = part !== "chat";
}

async function start(): Promise<void> {
  show("loading");
  loading = new AbortController();
  try {
    await engine?.unload();
    engine = undefined;
    engine = await Engine.load(bundle, { signal: loading.signal, onProgress, onWarning: ({ message }) => { $("speed").textContent = message; } });
    showFacts(engine);
    show("chat");
    $("input").focus();
  } catch (error) {
    fail(error);
  }
}

function onProgress({ fraction, text, bytesPerSecond, secondsLeft, stage }: LoadProgress): void {
  $<HTMLProgressElement>("bar").value = fraction;
  $("stage").textContent = text;
  const rate = bytesPerSecond === undefined ? "" : `${(bytesPerSecond / MIB).toFixed(1)} MiB/s`;
  const left = secondsLeft === undefined || !Number.isFinite(secondsLeft) ? "" : `, ${duration(secondsLeft)} left`;
  $("detail").textContent = stage === "weights" ? rate + left : "";
}

const duration = (seconds: number): string => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`);

function showFacts({ info }: Engine): void {
  const { vendor, architecture, description } = info.adapter;
  const gpu = [...new Set([description || [vendor, architecture].filter(Boolean).join(" ")])].join(" ") || "unnamed GPU";
  document.title = $("name").textContent = info.name;
  $("facts").textContent = `${gpu} · ${info.tier} · ${(info.memory.total / MIB).toFixed(0)} MiB on the GPU · context ${info.contextLength} · loaded in ${info.timings.total_s.toFixed(1)} s`;
}

function fail(error: unknown): void {
  const { title, message, hint, code } = explain(error);
  $("failure-title").textContent = title;
  $("failure-message").textContent = message;
  $("failure-hint").textContent = hint;
  $("failure-code").textContent = code;
  show("failure");
}

function bubble(role: "user" | "assistant", text = ""): HTMLElement {
  const made = document.createElement("div");
  made.className = `message ${role}`;
  made.textContent = text;
  $("messages").append(made);
  made.scrollIntoView({ block: "end" });
  return made;
}

async function ask(question: string): Promise<void> {
  if (!engine || busy) return;
  setBusy(true);
  bubble("user", question);
  const answer = bubble("assistant");
  answer.classList.add("busy");
  const system = $<HTMLTextAreaElement>("system").value.trim();
  const most = $<HTMLInputElement>("max-tokens").valueAsNumber;
  const turns: ChatMessage[] = [...history, { role: "user", content: question }];
  let text = "", painting = false;
  const paint = (): void => {
    painting = false;
    const main = document.querySelector("main")!;
    const atEnd = main.scrollHeight - main.scrollTop - main.clientHeight < 80;
    answer.replaceChildren(render(text));
    if (atEnd) main.scrollTop = main.scrollHeight;
  };
  try {
    const chunks = await engine.chat.completions.create({
      messages: system ? [{ role: "system", content: system }, ...turns] : turns, stream: true, stream_options: { include_usage: true },
      temperature: $<HTMLInputElement>("temperature").valueAsNumber, top_p: $<HTMLInputElement>("top-p").valueAsNumber,
      ...(most >= 1 ? { max_tokens: Math.floor(most) } : {}),
    });
    for await (const chunk of chunks) {
      text += chunk.choices[0]?.delta.content ?? "";
      // As often as the screen shows it, not as often as tokens come.
      if (!painting) { painting = true; requestAnimationFrame(paint); }
      if (chunk.usage) showSpeed(chunk.usage);
    }
    history = [...turns, { role: "assistant", content: text }];
  } catch (error) {
    failedAnswer(error);
  } finally {
    paint();
    answer.classList.remove("busy");
    if (!text) answer.remove();
    setBusy(false);
  }
}

/** What a new load can mend gets the whole page; the rest is said in the conversation. */
function failedAnswer(error: unknown): void {
  const { code, message, hint } = explain(error);
  if (["device-lost", "unloaded", "gpu", "out-of-memory"].includes(code)) return fail(error);
  bubble("assistant", `${message} ${hint}`).classList.add("error");
}

function showSpeed({ completion_tokens, extra }: Usage): void {
  $("speed").textContent = `${completion_tokens} tokens · ${extra.decode_tokens_per_s.toFixed(1)} tokens/s · prompt ${extra.prefill_tokens_per_s.toFixed(0)} tokens/s` +
    ` (${extra.cached_prompt_tokens} reused) · first token after ${(extra.time_to_first_token_s * 1000).toFixed(0)} ms`;
}

function setBusy(value: boolean): void {
  busy = value;
  $("send").hidden = value;
  $("stop").hidden = !value;
  $<HTMLButtonElement>("new").disabled = value;
  if (!value) $("input").focus();
}

const input = $<HTMLTextAreaElement>("input");
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = input.value.trim();
  if (!question || busy) return;
  input.value = "";
  grow();
  void ask(question);
});
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $<HTMLFormElement>("form").requestSubmit();
});
const grow = (): void => { input.rows = Math.min(8, input.value.split("\n").length); };
input.addEventListener("input", grow);
$("stop").addEventListener("click", () => engine?.interrupt());
$("cancel").addEventListener("click", () => loading?.abort());
$("retry").addEventListener("click", () => void start());
$("new").addEventListener("click", () => {
  history = [];
  $("messages").replaceChildren();
  $("speed").textContent = "";
  input.focus();
});
$("settings").addEventListener("click", () => {
  const drawer = $("drawer");
  drawer.hidden = !drawer.hidden;
  $("settings").setAttribute("aria-expanded", String(!drawer.hidden));
});
$("forget").addEventListener("click", () => void deleteFromCache(bundle).then(
  (count) => { $("forgotten").textContent = count ? `${count} files deleted.` : "There was no kept copy."; },
  (error: unknown) => { $("forgotten").textContent = explain(error).message; },
));
for (const id of ["temperature", "top-p"]) {
  const update = (): void => { $(`${id}-value`).textContent = $<HTMLInputElement>(id).value; };
  $(id).addEventListener("input", update);
  update();
}

void start();

// Runs the search page: a thousand sentences, or the visitor's own, searched by meaning while typing. Its bundle is
// ./bundle/, or ?bundle=URL, and ?tier= chooses how it is loaded; `mlcweb serve` shows it for a model of embeddings.
import { Engine, MlcwebError } from "mlcweb";
import { $, add } from "./dom.js";
import { explain } from "./explain.js";
import { showFailure, showProgress, showTarget } from "./load_view.js";
import { latency, machineFacts, modelFacts } from "./numbers.js";
import { SearchIndex } from "./search_index.js";

const asked = new URLSearchParams(location.search);
const bundle = asked.get("bundle") ?? "./bundle/";
const SHOWN = 12;
/** Sentences of a request at first: where they take long, searches go between the requests. */
const FEW = 8,
  QUICK_MS = 250;
/** A search that takes longer says that it is under way. */
const WAITING_MS = 300;
const SUGGESTIONS = [
  "my kitchen tap is leaking",
  "animals that sleep through the cold season",
  "who discovered radioactive elements",
  "a metal for wires",
  "something spicy from Asia",
  "I can't fall asleep",
  "music with strings",
  "the reason for a red evening sky",
];

let engine: Engine | undefined;
let loading: AbortController | undefined;
let sentences: readonly string[] = [];
let index = new SearchIndex();
/** Ends the embedding of sentences that are no longer searched, and a search that is not the last. */
let indexing = new AbortController();
let searching = new AbortController();

function show(part: "loading" | "failure" | "search"): void {
  for (const one of ["loading", "failure", "search"]) $(one).hidden = one !== part;
}

async function start(): Promise<void> {
  showTarget(bundle);
  show("loading");
  loading = new AbortController();
  try {
    const { signal } = loading;
    [engine, sentences] = await Promise.all([
      Engine.load(bundle, { signal, onProgress: showProgress, tier: asked.get("tier") ?? undefined }),
      fetch("./sentences.txt", { signal }).then(async (answer) => linesOf(await answer.text())),
    ]);
    document.title = $("name").textContent = engine.info.name;
    $("facts").textContent = modelFacts(engine.info);
    $("machine").textContent = machineFacts(engine.info);
    show("search");
    query.focus();
    await embedAll(sentences);
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  showFailure(explain(error));
  show("failure");
}

const linesOf = (text: string): string[] =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

/** The model's prompt of that name, if it has one of them. */
function promptOf(...names: readonly string[]): { prompt_name?: string } {
  const { prompts = {} } = engine!.info.embedding ?? {};
  const name = names.find((one) => Object.hasOwn(prompts, one));
  return name === undefined ? {} : { prompt_name: name };
}

/** Makes the vectors of these sentences; those that are there are searched meanwhile. */
async function embedAll(texts: readonly string[]): Promise<void> {
  indexing.abort();
  indexing = new AbortController();
  const { signal } = indexing;
  const made = new SearchIndex();
  sentences = texts;
  index = made;
  const began = performance.now();
  let few = FEW;
  $("embedded").hidden = false;
  try {
    while (made.size < texts.length) {
      const start = performance.now();
      const first = made.size;
      const { data } = await engine!.embeddings.create({
        input: texts.slice(first, first + few),
        truncate: true,
        signal,
        onProgress: ({ done }) => showEmbedded(first + done, texts.length),
        ...promptOf("document", "passage"),
      });
      for (const { embedding } of data) made.add(embedding as number[]);
      showEmbedded(made.size, texts.length);
      if (performance.now() - start < QUICK_MS) few *= 4;
      void search();
    }
    const seconds = (performance.now() - began) / 1000;
    const rate = Math.round(texts.length / seconds).toLocaleString("en");
    $("size").textContent =
      `${texts.length.toLocaleString("en")} sentences embedded in ${latency(seconds)}, ${rate} a second`;
  } catch (error) {
    if (!signal.aborted) fail(error);
  } finally {
    if (index === made) $("embedded").hidden = true;
  }
}

function showEmbedded(done: number, total: number): void {
  $<HTMLProgressElement>("embedded").value = done / total;
  $("size").textContent = `${done.toLocaleString("en")} of ${total.toLocaleString("en")} sentences embedded`;
}

async function search(): Promise<void> {
  searching.abort();
  searching = new AbortController();
  const { signal } = searching;
  const words = query.value.trim();
  $("suggestions").hidden = words !== "";
  if (words === "" || !engine) {
    $("results").replaceChildren();
    $("timing").textContent = "";
    return;
  }
  const waiting = setTimeout(() => {
    $("timing").textContent = "Searching";
  }, WAITING_MS);
  try {
    const began = performance.now();
    const input = { input: words, truncate: true, signal, ...promptOf("query", "search_query") };
    const { data } = await engine.embeddings.create(input);
    const embedded = performance.now();
    const found = index.nearest(data[0]!.embedding as number[], SHOWN);
    const searched = performance.now();
    showResults(found.map(({ at, similarity }) => [sentences[at]!, similarity]));
    const [embedding, nearest] = [embedded - began, searched - embedded].map((ms) => `${ms.toFixed(1)} ms`);
    $("timing").textContent = `Query embedded in ${embedding}, ${index.size} vectors compared in ${nearest}`;
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof MlcwebError && error.code === "invalid-request") $("timing").textContent = error.message;
    else fail(error);
  } finally {
    clearTimeout(waiting);
  }
}

function showResults(found: readonly (readonly [string, number])[]): void {
  $("results").replaceChildren();
  for (const [text, similarity] of found) {
    const item = add($("results"), "li", "");
    add(item, "span", "", text);
    add(add(item, "div", "similar"), "div", "").style.width = `${100 * Math.max(0, similarity)}%`;
    add(item, "span", "number", similarity.toFixed(2));
  }
}

function toggleOwn(open: boolean): void {
  $("texts").hidden = !open;
  $("own").setAttribute("aria-expanded", String(open));
  if (open) $("lines").focus();
}

const query = $<HTMLInputElement>("query");
query.addEventListener("input", () => void search());
for (const words of SUGGESTIONS) {
  const button = add($("suggestions"), "button", "", words);
  button.type = "button";
  button.addEventListener("click", () => {
    query.value = words;
    query.focus();
    void search();
  });
}
$("own").addEventListener("click", () => toggleOwn($("own").ariaExpanded !== "true"));
$("use").addEventListener("click", () => {
  const lines = linesOf($<HTMLTextAreaElement>("lines").value);
  if (lines.length === 0) return;
  toggleOwn(false);
  void embedAll(lines);
});
$("back").addEventListener("click", async () => {
  toggleOwn(false);
  void embedAll(linesOf(await (await fetch("./sentences.txt")).text()));
});
$("cancel").addEventListener("click", () => loading?.abort());
$("retry").addEventListener("click", () => void start());

void start();

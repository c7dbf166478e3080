// Runs the chat page that `mlcweb serve` shows. Its bundle is ./bundle/, or ?bundle=URL, percent-encoded where that has
// a query, or one to choose of ?catalog=URL. ?tier= and ?context= choose how it is loaded, and ?debug=1 to 4 what the
// console is told.
import { type ChatMessage, type DebugLevel, Engine, InvalidRequestError, WrongModelError } from "mlcweb";
import { reply } from "./answer.js";
import { $, add, onScroll, toEnd } from "./dom.js";
import { closeDrawer, drawerRequest, forgets } from "./drawer.js";
import { type Explained, explain, type Remedy } from "./explain.js";
import { showFailure, showProgress, showTarget } from "./load_view.js";
import { machineFacts, modelFacts } from "./numbers.js";
import { type Attached, contentOf, Pictures } from "./pictures.js";
import type { Playground } from "./playground/index.js";

const query = new URLSearchParams(location.search);
const bundle = query.get("bundle") ?? "./bundle/";
/** Whose models are shown, for one to be chosen. */
const catalog = query.has("bundle") ? null : query.get("catalog");
/** What an ampersand in a query that is not encoded cuts off. */
const cut = bundle.includes("?")
  ? [...query.keys()].filter((key) => !["bundle", "catalog", "tier", "context", "debug"].includes(key))
  : [];
const SHORT_CONTEXT = 1024;
const SUGGESTIONS = [
  "What is the capital of France?",
  "Give me three tips for writing clearly.",
  "Explain to a child why the sky is blue.",
  "Write a short poem about the sea.",
];

let engine: Engine | undefined;
let loading: AbortController | undefined;
let busy = false;
let history: ChatMessage[] = [];
/** Once it has been opened, its fields make the requests. */
let playground: Playground | undefined;
let contextLength = Number(query.get("context")) || undefined;

function show(part: "models" | "loading" | "failure" | "chat"): void {
  $("models").hidden = part !== "models";
  $("loading").hidden = part !== "loading";
  $("failure").hidden = part !== "failure";
  $("messages").hidden = $("composer").hidden = part !== "chat";
  $("welcome").hidden = part !== "chat" || $("messages").childElementCount > 0;
  $<HTMLButtonElement>("new").disabled = part !== "chat";
}

// Loading

async function choose(url: string): Promise<void> {
  show("models");
  try {
    const { showModels } = await import("./models.js");
    await showModels($("models-list"), $("models-status"), url);
  } catch (error) {
    fail(explain(error));
  }
}

async function start(): Promise<void> {
  if (catalog !== null) return choose(catalog);
  showTarget(bundle);
  show("loading");
  loading = new AbortController();
  try {
    if (cut.length > 0)
      throw new InvalidRequestError(
        "bundle",
        `its query goes on with ${cut.join(", ")}, which this page would not ask with.`,
        "Percent-encode the bundle's URL, as encodeURIComponent does.",
      );
    await engine?.unload();
    engine = undefined;
    engine = await Engine.load(bundle, {
      signal: loading.signal,
      onProgress: showProgress,
      onWarning: ({ message }) => {
        $("speed").textContent = message;
      },
      tier: query.get("tier") ?? undefined,
      contextLength,
      debug: Number(query.get("debug") ?? 0) as DebugLevel, // the engine refuses what is no level
    });
    const { name, embedding, reranking } = engine.info;
    if (embedding) {
      location.replace(`./search.html${location.search}`);
      return;
    }
    if (reranking) throw new WrongModelError(name, "rerank");
    document.title = $("name").textContent = engine.info.name;
    $("facts").textContent = modelFacts(engine.info);
    $("machine").textContent = machineFacts(engine.info);
    pictures.enable(engine.info.images);
    show("chat");
    $("input").focus();
    playground?.update();
  } catch (error) {
    fail(explain(error));
  }
}

function fail(why: Explained): void {
  showFailure(why);
  const remedy = why.remedy && REMEDIES[why.remedy];
  $("remedy").hidden = !remedy;
  $("remedy").textContent = remedy?.label ?? "";
  $("remedy").onclick = () => remedy?.run();
  show("failure");
}

const REMEDIES: Record<Remedy, { label: string; run: () => void }> = {
  "shorter-context": {
    label: `Load with a context of ${SHORT_CONTEXT} tokens`,
    run: () => {
      contextLength = SHORT_CONTEXT;
      void start();
    },
  },
  "new-chat": { label: "New chat", run: newChat },
};

// Conversation

async function ask(question: string): Promise<void> {
  if (!engine || busy) return;
  const attached = pictures.take();
  const work = async (engine: Engine): Promise<void> => {
    const turns: ChatMessage[] = [...history, { role: "user", content: contentOf(question, attached) }];
    if (playground) history = await playground.converse(engine, turns);
    else {
      const { message } = await reply(engine.chat.completions.create(drawerRequest(turns)));
      history = [...turns, message];
    }
  };
  await run(question, "user", work, attached);
}

/** Shows what is asked, and works at its answer. A question without any answer can be asked again. */
async function run(
  asked: string,
  kind: string,
  work: (engine: Engine) => Promise<void>,
  attached: readonly Attached[] = [],
): Promise<void> {
  if (!engine || busy) return;
  setBusy(true);
  $("welcome").hidden = true;
  const shown = add($("messages"), "div", `message ${kind}`, asked);
  if (attached.length > 0) {
    const views = document.createElement("div");
    views.className = "pictures";
    views.append(...attached.map(({ view }) => view));
    shown.prepend(views);
  }
  toEnd();
  $("speed").textContent = "Reading the prompt";
  const failed = await work(engine).then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  setBusy(false);
  if (!failed) $("machine").textContent = machineFacts(engine.info);
  else {
    if (shown === $("messages").lastElementChild) {
      shown.remove();
      if (!input.value && kind === "user") input.value = asked;
      pictures.put(attached);
      grow();
    }
    if (playground?.refused(failed.error)) show("chat");
    else failedAnswer(explain(failed.error));
  }
  playground?.update();
}

/** A failure that a new load can mend gets the whole page. Others are shown in the conversation. */
function failedAnswer(why: Explained): void {
  if (why.fatal) {
    fail(why);
    return;
  }
  const said = add($("messages"), "div", "message error");
  said.setAttribute("role", "alert");
  add(said, "strong", "", why.title);
  said.append(`${why.message} ${why.hint}`);
  const remedy = why.remedy && REMEDIES[why.remedy];
  if (remedy) add(add(said, "div", "actions"), "button", "", remedy.label).addEventListener("click", remedy.run);
  said.scrollIntoView({ block: "end" });
}

function newChat(): void {
  if (busy) return;
  history = [];
  pictures.take();
  $("messages").replaceChildren();
  $("speed").textContent = "";
  $("latest").hidden = true;
  show("chat");
  input.focus();
  playground?.update();
}

function setBusy(value: boolean): void {
  busy = value;
  $("send").hidden = value;
  $("stop").hidden = !value;
  $<HTMLButtonElement>("new").disabled = value;
  if (!value) input.focus({ preventScroll: true });
}

const input = $<HTMLTextAreaElement>("input");
const pictures = new Pictures(
  () => playground?.update(),
  (error) => failedAnswer(explain(error)),
);
const grow = (): void => {
  input.style.height = "";
  if (input.value) input.style.height = `${input.scrollHeight}px`;
};
input.addEventListener("input", grow);
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $<HTMLFormElement>("form").requestSubmit();
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = input.value.trim();
  if ((!question && pictures.all.length === 0) || busy) return;
  input.value = "";
  grow();
  void ask(question);
});
for (const question of SUGGESTIONS) {
  const element = add($("suggestions"), "button", "", question);
  element.type = "button";
  element.addEventListener("click", () => void ask(question));
}
$("stop").addEventListener("click", () => engine?.interrupt());
$("cancel").addEventListener("click", () => loading?.abort());
$("retry").addEventListener("click", () => void start());
$("new").addEventListener("click", newChat);
$("latest").addEventListener("click", toEnd);
onScroll((atEnd) => {
  $("latest").hidden = $("messages").hidden || atEnd;
});

forgets(bundle);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing && !closeDrawer() && busy) engine?.interrupt();
});

// The playground: a file of its own, fetched when it is first opened.

let opening: Promise<Playground> | undefined;
async function openPlayground(open?: boolean): Promise<void> {
  try {
    opening ??= import("./playground/index.js").then(({ makePlayground }) =>
      makePlayground({
        engine: () => engine,
        ready: () => engine !== undefined && !busy,
        history: () => history,
        typed: () => contentOf(input.value.trim(), pictures.all),
        options: () => ({ tier: query.get("tier") ?? undefined, contextLength }),
        queried: bundle.includes("?"),
        reply,
        run,
      }),
    );
    playground = await opening;
    playground.toggle(open);
  } catch (error) {
    opening = undefined; // the next click tries again
    $("speed").textContent = `The playground cannot be opened: ${explain(error).message}`;
  }
}
$("playground").addEventListener("click", () => void openPlayground());
try {
  // Its fields were kept: they are in force again.
  if (sessionStorage.getItem("mlcweb.playground")) void openPlayground(innerWidth >= 960);
} catch {
  // A page without storage.
}

void start();

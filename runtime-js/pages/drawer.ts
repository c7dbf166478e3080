// The drawer of settings: what a plain conversation is asked with, and the kept copy of the model.
import { type ChatMessage, type ChatRequest, deleteFromCache } from "mlcweb";
import { $ } from "./dom.js";
import { explain } from "./explain.js";

/** A request for the conversation, as the drawer has it. */
export function drawerRequest(turns: ChatMessage[]): ChatRequest & { stream: true } {
  const system = $<HTMLTextAreaElement>("system").value.trim();
  const maxTokens = $<HTMLInputElement>("max-tokens").valueAsNumber;
  return {
    messages: system ? [{ role: "system", content: system }, ...turns] : turns,
    stream: true,
    stream_options: { include_usage: true },
    temperature: $<HTMLInputElement>("temperature").valueAsNumber,
    top_p: $<HTMLInputElement>("top-p").valueAsNumber,
    ...(maxTokens >= 1 ? { max_tokens: Math.floor(maxTokens) } : {}),
  };
}

function setDrawer(open: boolean): void {
  $("drawer").hidden = !open;
  $("settings").setAttribute("aria-expanded", String(open));
  if (open) $("system").focus();
}

/** Whether it was open. */
export function closeDrawer(): boolean {
  if ($("drawer").hidden) return false;
  setDrawer(false);
  $("settings").focus();
  return true;
}

/** Lets the drawer delete the kept copy of a bundle. */
export function forgets(bundle: string): void {
  $("forget").addEventListener(
    "click",
    () =>
      void deleteFromCache(bundle).then(
        (files) => {
          $("forgotten").textContent = files ? `${files} files deleted.` : "There was no kept copy.";
        },
        (error: unknown) => {
          $("forgotten").textContent = explain(error).message;
        },
      ),
  );
}

$("settings").addEventListener("click", () => setDrawer($("drawer").hidden !== false));
addEventListener("pointerdown", ({ target }) => {
  if (!$("drawer").hidden && target instanceof Node && !$("drawer").contains(target) && !$("settings").contains(target))
    setDrawer(false);
});
for (const id of ["temperature", "top-p"]) {
  const update = (): void => {
    $(`${id}-value`).textContent = $<HTMLInputElement>(id).value;
  };
  $(id).addEventListener("input", update);
  update();
}

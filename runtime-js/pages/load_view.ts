// Shows how far a load is, and why it failed, on a page with the elements of chat.html for that.
import type { LoadProgress } from "mlcweb";
import { $ } from "./dom.js";
import type { Explained } from "./explain.js";
import { duration, mebibytes } from "./numbers.js";

type Shown = Pick<LoadProgress, "fraction" | "text" | "bytesPerSecond" | "secondsLeft" | "stage">;

/** Says what is loaded, from the beginning. */
export function showTarget(bundle: string): void {
  showProgress({ fraction: 0, text: "Starting", stage: "manifest" });
  // A token in the query is not for the screen.
  $("target").textContent = (URL.parse(bundle, location.href)?.href ?? bundle).replace(/[?#].*$/, "");
}

export function showProgress({ fraction, text, bytesPerSecond, secondsLeft, stage }: Shown): void {
  $<HTMLProgressElement>("bar").value = fraction;
  $("percent").textContent = `${Math.floor(fraction * 100)}%`;
  $("stage").textContent = text;
  const rate = bytesPerSecond === undefined ? "" : `${mebibytes(bytesPerSecond)}/s`;
  const left = secondsLeft === undefined || !Number.isFinite(secondsLeft) ? "" : `, ${duration(secondsLeft)} left`;
  $("detail").textContent = stage === "weights" ? rate + left : "";
}

export function showFailure(why: Explained): void {
  $("failure-title").textContent = why.title;
  $("failure-message").textContent = why.message;
  $("failure-hint").textContent = why.hint;
  $("failure-code").textContent = why.code;
  $("failure").classList.toggle("calm", why.calm === true);
  $("retry").textContent = why.again ?? "Try again";
}

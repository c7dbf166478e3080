// Tells what a bundle's model is for.
import type { Manifest } from "../bundle/index.js";
import { WrongModelError } from "../errors.js";

/** The engine's member for each. */
const CALLS = { answers: "chat.completions.create", embedding: "embeddings.create", reranking: "rerank" } as const;
export type Task = keyof typeof CALLS;

type Facts = Pick<Manifest, "name" | "embedding" | "reranking">;

export const taskOf = ({ embedding, reranking }: Facts): Task =>
  embedding ? "embedding" : reranking ? "reranking" : "answers";

/** What to throw where something else is asked of it. */
export const wrongModel = (facts: Facts): WrongModelError => new WrongModelError(facts.name, CALLS[taskOf(facts)]);

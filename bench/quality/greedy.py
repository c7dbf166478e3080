"""Whether the host reference says what llama.cpp says of the same file, token by token."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlcweb.evaluate.predictor import Predictor
from mlcweb.progress import Progress

HERE = Path(__file__).parent
COUNT = 64
PROMPTS = (
    "The capital of France is",
    "Why is the sky blue?",
    "Write a function in Python that reverses a string.",
    "The three primary colours are",
    "Once upon a time, in a village by the sea,",
    "How do I make a cup of tea?",
    "The opposite of hot is",
    "List five animals that live in the ocean.",
    "In 1969, the first people",
    "Explain what a black hole is to a child.",
    "Translate to French: Good morning, how are you?",
    "The recipe needs two eggs, a cup of flour and",
    "What is 12 times 12?",
    "Dear customer, we are sorry to hear that",
    "The best way to learn a language is",
    "Name the planets of the solar system.",
    "def fibonacci(n):",
    "The old man opened the door and",
    "What does a vaccine do?",
    "Water boils at",
)


@dataclass(frozen=True)
class Agreement:
    """``prefixes`` are the tokens of each answer before the first that differs, of ``counts``; ``equal`` is the share
    of all tokens where both choose alike after the same text, llama.cpp's."""

    prefixes: tuple[int, ...]
    counts: tuple[int, ...]
    equal: float

    @property
    def whole(self) -> int:
        """Answers that are the same to the end."""
        return sum(a == b for a, b in zip(self.prefixes, self.counts, strict=True))


def llama_answers(gguf: Path, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Greedy tokens of llama.cpp on the CPU, ``COUNT`` for each prompt or up to an end."""
    asked = {"gguf": str(gguf), "prompts": [list(prompt) for prompt in prompts], "count": COUNT}
    with tempfile.TemporaryDirectory(prefix="mlcweb-quality-") as folder:
        file = Path(folder) / "asked.json"
        file.write_text(json.dumps(asked))
        command = [HERE.parents[1] / "scripts" / "with-node.sh", "node", HERE / "answer.mjs", file]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answers: list[list[int]] = json.loads(done.stdout)["answers"]
    return answers


def agree(
    predictor: Predictor,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    progress: Progress,
) -> Agreement:
    """Feeds each prompt with llama.cpp's answer: up to the first difference it is what a greedy answer would feed."""
    prefixes, alike = [], 0
    progress.start("greedy", sum(map(len, (*prompts, *answers))), "tokens")
    for prompt, answer in zip(prompts, answers, strict=True):
        tokens = [*prompt, *answer]
        predictor.begin(tokens)
        logits = predictor.feed(tokens[:-1])[len(prompt) - 1 :]
        same = logits.argmax(axis=1) == np.array(answer)
        prefixes.append(len(answer) if same.all() else int(same.argmin()))
        alike += int(same.sum())
        progress.advance(len(tokens))
    counts = tuple(map(len, answers))
    return Agreement(tuple(prefixes), counts, alike / sum(counts))

"""Reports what replaying a tier found, and which error that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mlcweb.errors import ValidationError

HINT = (
    "try another tier with --tier; when one alone fails, its kernels or this GPU's driver are wrong: "
    "docs/debugging.md goes on from here"
)


@dataclass(frozen=True)
class TierReport:
    """A tier's expected and actual tokens, and the largest logit difference relative to its step's range.

    ``activations`` is what prefill computed with: "float", "int8" or "matrix".
    ``mismatch_at`` is the first token that differs without a near tie in the reference to excuse it, else -1.
    ``wrong_step`` is the first step whose logits are further off than ``tolerance``, else -1: step 0 is the prompt's,
    and each other feeds one token of the answer to decode.
    ``chats`` is what differs from the compiler's in each example chat that the engine rendered, or None. ``texts``, of
    a model of whole texts: whether the engine makes the compiler's tokens of each; ``wrong_step`` is then the first
    text whose embedding or score is off. ``picture``, of a model that sees: how far the logits after a picture
    are off, as ``largest_difference`` has it.
    """

    tier: str
    activations: str
    adapter: str
    answer: str
    expected: list[int]
    tokens: list[int]
    mismatch_at: int
    largest_difference: float
    wrong_step: int
    tolerance: float
    seconds: float
    chats: list[str | None]
    texts: list[bool] = field(default_factory=list)
    picture: float | None = None

    @property
    def tokens_match(self) -> bool:
        return self.mismatch_at < 0 and all(self.texts)

    @property
    def passed(self) -> bool:
        """Chats and tokens agree and logits are close; a difference that is not a number is never close."""
        close = self.largest_difference <= self.tolerance and not self.picture_is_off
        return not self.chat_difference and self.tokens_match and close

    @property
    def picture_is_off(self) -> bool:
        """Whether the logits after a picture are not close."""
        return self.picture is not None and not self.picture <= self.tolerance

    @property
    def chat_difference(self) -> str:
        """The first chat that the engine renders otherwise than the compiler did, or nothing."""
        differences = ((i, what) for i, what in enumerate(self.chats) if what)
        return next((f"chat {i + 1} of {len(self.chats)}: {what}" for i, what in differences), "")

    @property
    def chats_alike(self) -> str:
        """``5 of 5``; nothing of a model of whole texts."""
        if self.texts:
            return "none"
        return f"{self.chats.count(None)} of {len(self.chats)}"

    @property
    def wrong_entry(self) -> str:
        """Which entry makes the first logits that are off, or nothing."""
        if self.wrong_step < 0 or self.texts:
            return ""
        if self.wrong_step == 0:
            return "logits are off from step 0, the prompt's, which prefill makes"
        return f"logits are right after the prompt and off from step {self.wrong_step}, which decode makes"

    @property
    def matching(self) -> str:
        """``8 of 8`` tokens of the answer, or ``5 of 5`` texts whose tokens are the compiler's."""
        if self.texts:
            return f"{sum(self.texts)} of {len(self.texts)}"
        count = len(self.expected)
        return f"{count if self.tokens_match else self.mismatch_at} of {count}"

    @property
    def error(self) -> ValidationError | None:
        """What does not agree; None where all does."""
        if self.passed:
            return None
        if self.chat_difference:
            return ValidationError(
                f"the engine and the compiler render chats differently: {self.chat_difference}",
                hint="compile the model again with this mlcweb; if it stays so, report the model's chat template",
            )
        where = f"tier {self.tier} on {self.adapter}" if self.adapter else f"tier {self.tier}"
        if self.texts:
            return self._error_of_texts(where)
        entry = f"; {self.wrong_entry}" if self.wrong_entry else ""
        if not self.tokens_match:
            said = f"{self.matching} tokens agree, then it says {self.answer!r}"
            return ValidationError(f"{where} answers differently: {said}{entry}", hint=HINT)
        if self.picture_is_off and self.largest_difference <= self.tolerance:
            return ValidationError(
                f"{where}: a logit after a picture differs by {self.picture:.2e} of its range; the tolerance is "
                f"{self.tolerance:.1e}; after words alone logits are right, so it is the entry image",
                hint=HINT,
            )
        return ValidationError(
            f"{where}: a logit differs by {self.largest_difference:.2e} of its range; "
            f"the tolerance is {self.tolerance:.1e}{entry}",
            hint=HINT,
        )

    def _error_of_texts(self, where: str) -> ValidationError:
        if not all(self.texts):
            text = self.texts.index(False) + 1
            return ValidationError(
                f"the engine and the compiler make other tokens of text {text} of {len(self.texts)}",
                hint="compile the model again with this mlcweb; if it stays so, report the model's tokenizer.json",
            )
        return ValidationError(
            f"{where}: what is made of text {self.wrong_step + 1} differs by {self.largest_difference:.2e} of its "
            f"length; the tolerance is {self.tolerance:.1e}",
            hint=HINT,
        )

    def facts(self) -> dict[str, Any]:
        """For JSON, which has no NaN: null stands for it."""
        numbers = {"largest_difference": self.largest_difference, "picture": self.picture}
        finite = {key: n if n is not None and math.isfinite(n) else None for key, n in numbers.items()}
        return {**asdict(self), **finite, "tokens_match": self.tokens_match, "passed": self.passed}

    @classmethod
    def from_engine(cls, answer: Mapping[str, Any], adapter: str) -> TierReport:
        """The harness's ValidationReport. Where it fails a step, a NaN may have become null on the way."""
        return cls(
            tier=str(answer["tier"]),
            activations=str(answer["activations"]),
            adapter=adapter,
            answer=str(answer["answer"]),
            expected=[int(token) for token in answer["expected"]],
            tokens=[int(token) for token in answer["greedy"]],
            mismatch_at=int(answer["greedy_mismatch_at"]),
            largest_difference=_number(answer["max_relative_difference"]),
            wrong_step=next(
                (i for i, step in enumerate(answer["texts"] or answer["steps"]) if not step["ok"]), -1
            ),
            tolerance=float(answer["tolerance"]),
            seconds=float(answer["seconds"]),
            chats=[chat["difference"] for chat in answer["chats"]],
            texts=[bool(text["tokens_equal"]) for text in answer["texts"]],
            picture=_number(answer["picture"]["relative_difference"]) if answer["picture"] else None,
        )


def _number(value: float | None) -> float:
    """What JSON may have made null of."""
    return math.nan if value is None else float(value)

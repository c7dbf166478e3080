"""Validates the answers that bench/structured.mjs wrote, with jsonschema.

python -m bench.structured FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]


def main() -> int:
    kept = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(kept["schema"])
    wrong = 0
    for name, answers in kept["answers"].items():
        ended = [answer for answer in answers if answer["finish_reason"] == "stop"]
        valid = sum(validator.is_valid(json.loads(answer["text"])) for answer in ended)
        wrong += len(ended) - valid
        print(f"{name}: {len(answers)} answers, {len(ended)} ended, {valid} of them valid")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Each family's tokenizer, converted to GGUF as llama.cpp does it, gives the ids that the family's own gives."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from mlcweb.sources.gguf.file import GgufFile
from mlcweb.sources.gguf.tokenizer import build_tokenizer_files
from mlcweb.sources.gguf.vocabulary import read_vocabulary

TOKENIZERS = Path(__file__).parent.parent / "fixtures" / "text" / "tokenizers"
# The fixture's merges of spaces are not SentencePiece's, which takes the longest run that is a token; and its file
# has tokens that eat what is before them, which Phi-3 has not.
_ARTIFICIAL = {"gemma": re.compile("   |▁|  $"), "phi3": re.compile(r"<\|(before|both)\|>")}


def definition_of(name: str) -> dict[str, Any]:
    definition: dict[str, Any] = json.loads((TOKENIZERS / f"{name}.json").read_text(encoding="utf-8"))
    return definition


def converted(name: str, *, with_merges: bool = False, **keys: Any) -> GgufFile:
    """The metadata that convert_hf_to_gguf.py writes of a tokenizer.json, or of the tokenizer.model it was made of."""
    definition = definition_of(name)["tokenizer"]
    model, added = definition["model"], {token["content"]: token for token in definition["added_tokens"]}
    ids = {**model["vocab"], **{text: token["id"] for text, token in added.items()}}
    sentencepiece = model["byte_fallback"]
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(model["merges"]):
        ranks.setdefault(left + right, rank)
    tokens, types, scores = [], [], []
    for text in sorted(ids, key=lambda text: ids[text]):
        if text in added:
            user_defined = not added[text]["special"]
            spaced = sentencepiece and user_defined and not with_merges
            tokens.append(text.replace("▁", " ") if spaced else text)
            types.append(4 if user_defined else 2 if text == "<unk>" else 3)
            scores.append(-1000.0)
        else:
            tokens.append(text)
            types.append(6 if sentencepiece and re.fullmatch("<0x[0-9A-F]{2}>", text) else 1)
            scores.append(-float(ranks.get(text, len(ranks))))
    metadata: dict[str, Any] = {"model": "llama", "scores": scores}
    if not sentencepiece or with_merges:
        kind = "gemma4" if sentencepiece else "gpt2"
        metadata = {"model": kind, "merges": [" ".join(merge) for merge in model["merges"]]}
    bos = next((text for text in ("<s>", "<bos>", "<|begin_of_text|>") if text in ids), None)
    if bos:
        metadata["bos_token_id"] = ids[bos]
    metadata |= {"tokens": tokens, "token_type": types, **keys}
    prefixed = {f"tokenizer.ggml.{key}": value for key, value in metadata.items()}
    return GgufFile(Path("x.gguf"), {**prefixed, "general.architecture": name}, {})


def tokenizer_of(file: GgufFile) -> Tokenizer:
    return Tokenizer.from_str(
        build_tokenizer_files(file, read_vocabulary(file), 512)["tokenizer.json"].decode()
    )


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("gpt2", {"pre": "gpt-2"}),
        ("phi2", {"pre": "phi-2"}),
        ("neox", {"pre": "olmo"}),
        ("neox", {"pre": "gpt-neox"}),
        ("llama3", {"pre": "llama-bpe"}),
        ("qwen2", {"pre": "qwen2"}),
        ("smollm2", {"pre": "smollm"}),
        ("olmo2", {"pre": "dbrx"}),
        ("llama2", {}),
        ("phi3", {"add_bos_token": False}),
        ("gemma", {"add_space_prefix": False}),
    ],
)
def test_texts_become_the_ids_of_the_familys_tokenizer(name: str, keys: dict[str, Any]) -> None:
    tokenizer = tokenizer_of(converted(name, **keys))
    texts = definition_of(name)["encoded"]
    asked = [
        entry for entry in texts if name not in _ARTIFICIAL or not _ARTIFICIAL[name].search(entry["text"])
    ]
    assert len(asked) > 50
    for entry in asked:
        assert tokenizer.encode(entry["text"], add_special_tokens=False).ids == entry["ids"], entry["text"]
        assert tokenizer.encode(entry["text"]).ids == entry["with_special"], entry["text"]
        if "\ufffd" not in entry["decoded"]:
            assert tokenizer.decode(entry["ids"]) == entry["decoded"], entry["text"]


def test_gemma_4s_merges_are_in_its_file() -> None:
    """Gemma's tokenizer as llama.cpp's converter writes that of Gemma 4."""
    tokenizer = tokenizer_of(converted("gemma", with_merges=True, add_space_prefix=False))
    for entry in definition_of("gemma")["encoded"]:
        assert tokenizer.encode(entry["text"], add_special_tokens=False).ids == entry["ids"], entry["text"]


def test_gemmas_runs_of_spaces_are_the_longest_token() -> None:
    tokenizer = tokenizer_of(converted("gemma", add_space_prefix=False))
    vocab = definition_of("gemma")["tokenizer"]["added_tokens"]
    ids = {token["content"]: token["id"] for token in vocab}
    for count in range(2, 8):
        text = " " * count
        assert tokenizer.encode(text, add_special_tokens=False).ids == [ids["▁" * count]]
        assert tokenizer.decode([ids["▁" * count]]) == text


def test_only_phi3s_special_tokens_eat_what_follows() -> None:
    file = converted("phi3")
    llama = GgufFile(file.path, {**file.metadata, "general.architecture": "llama"}, {})
    eaten, kept = (_pieces(tokenizer_of(one), "<|user|>\n\n a<s> a") for one in (file, llama))
    assert eaten == ["<|user|>", "▁a", "<s>", "▁▁", "a"]
    assert kept == ["<|user|>", "▁", "\n\n", "▁a", "<s>", "▁▁", "a"]


def _pieces(tokenizer: Tokenizer, text: str) -> list[str | None]:
    return [tokenizer.id_to_token(i) for i in tokenizer.encode(text, add_special_tokens=False).ids]


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("stablelm2", ["I", "'LL", " go", "1", "2", "3", "4", "/don", "'t", "\n\n", " x"]),
        ("deepseek-r1-qwen", ["I", "'LL", " go", "1", "2", "3", "4", "/don", "'t", "\n\n", " x"]),
        ("dbrx", ["I", "'LL", " go", "123", "4", "/don", "'t", "\n\n", " x"]),
        ("gpt-4o", ["I'LL", " go", "123", "4", "/don't", "\n\n", " x"]),
        ("olmo", ["I", "'", "LL", " go", "1234", "/", "don", "'t", "\n\n", " x"]),
    ],
)
def test_cuts(pre: str, expected: list[str]) -> None:
    text = "I'LL go1234/don't\n\n x"
    tokenizer = tokenizer_of(converted("gpt2", pre=pre))
    assert tokenizer.pre_tokenizer is not None
    cuts = [text[start:end] for _, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    assert cuts == expected


def test_gpt_4o_cuts_words_at_capitals() -> None:
    text = "HTMLParser parseHTML/\nNaïve"
    tokenizer = tokenizer_of(converted("gpt2", pre="gpt-4o"))
    assert tokenizer.pre_tokenizer is not None
    cuts = [text[start:end] for _, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    assert cuts == ["HTMLParser", " parse", "HTML", "/\n", "Naïve"]


def test_turn_ends_of_either_type_end_an_answer() -> None:
    file = converted("gemma", eos_token_id=1)
    tokens = file.metadata["tokenizer.ggml.tokens"]
    end = tokens.index("<end_of_turn>")
    assert read_vocabulary(file).find_stop_ids() == (1, end)
    file.metadata["tokenizer.ggml.token_type"][end] = 4
    assert read_vocabulary(file).find_stop_ids() == (1, end)

"""tokenizer.json rebuilt from GGUF metadata, judged by what the tokenizers library does with it."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers

from bench.synthetic.tokenizer import tiny_vocabulary
from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources.gguf.file import GgufFile
from mlcweb.sources.gguf.sentencepiece import rank_merges
from mlcweb.sources.gguf.tokenizer import build_tokenizer_files
from mlcweb.sources.gguf.vocabulary import STOP_TEXTS, read_vocabulary
from mlcweb.sources.tokenizer_files import _TURN_ENDS
from mlcweb.sources.tokenizer_json import write_tokenizer_json
from tests.support.gguf_metadata import sentencepiece_file

TEXTS = [
    "What is the capital of France?",
    "In 2024, 1234567 people — naïve 中文 🚀🎉👩‍👩‍👧 said:\tdef f(x):\n    return x**2  # they're\r\n\r\n",
    "  two spaces,\n\n\nthree lines   ",
    "<|im_start|>user\nthe end<|im_end|>",
]


def byte_level_file(pre="smollm", **changes):
    vocab, merges = tiny_vocabulary()
    metadata = {
        "model": "gpt2",
        "pre": pre,
        "tokens": list(vocab),
        "token_type": [3] * 3 + [1] * (len(vocab) - 3),
        "merges": [f"{left} {right}" for left, right in merges],
        "bos_token_id": 1,
        "eos_token_id": 2,
        **changes,
    }
    return GgufFile(
        Path("x.gguf"), {f"tokenizer.ggml.{k}": v for k, v in metadata.items() if v is not None}, {}
    )


def build(file, notes=None):
    vocabulary = read_vocabulary(file, (notes if notes is not None else []).append)
    files = build_tokenizer_files(file, vocabulary, 512)
    return Tokenizer.from_str(files["tokenizer.json"].decode()), json.loads(files["tokenizer_config.json"])


def cuts(tokenizer, text):
    return [text[start:end] for _, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize("pre", ["smollm", "llama-bpe", "gpt-2", "qwen2", "default", None])
@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back(pre, text):
    tokenizer, _ = build(byte_level_file(pre))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_special_tokens_are_one_token_and_merges_apply():
    tokenizer, config = build(byte_level_file())
    encoded = tokenizer.encode("<|im_start|>the in")
    assert encoded.tokens == ["<|im_start|>", "the", "Ġin"]
    assert encoded.ids[0] == 1
    assert tokenizer.decode(encoded.ids) == "the in"
    assert (config["bos_token"], config["eos_token"]) == ("<|im_start|>", "<|im_end|>")


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("smollm", ["a", "1", "2", "3", "4", " b", "'s", " C"]),
        ("gpt-2", ["a", "1234", " b", "'s", " C"]),
        ("llama-bpe", ["a", "123", "4", " b", "'s", " C"]),
        ("qwen2", ["a", "1", "2", "3", "4", " b", "'s", " C"]),
        ("default", ["a", "123", "4", " b", "'", "s", " C"]),
    ],
)
def test_each_pre_tokenizer_cuts_numbers_its_way(pre, expected):
    tokenizer, _ = build(byte_level_file(pre))
    assert cuts(tokenizer, "a1234 b's C") == expected


def test_upper_case_contractions_and_newlines_differ_by_generation():
    text = "I'LL go\n\n  on"
    gpt2, llama3 = build(byte_level_file("gpt-2"))[0], build(byte_level_file("llama-bpe"))[0]
    assert cuts(gpt2, text) == ["I", "'", "LL", " go", "\n\n ", " on"]
    assert cuts(llama3, text) == ["I", "'LL", " go", "\n\n", " ", " on"]


def test_smollm_equals_the_pipeline_its_model_publishes():
    published = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer, _ = build(byte_level_file("smollm"))
    for text in TEXTS:
        assert tokenizer.pre_tokenizer.pre_tokenize_str(text) == published.pre_tokenize_str(text)


def test_llama3_takes_whole_words_from_the_vocabulary():
    vocab, _ = tiny_vocabulary()
    tokens = [*vocab, "Ġxyzzy"]
    changes = {"tokens": tokens, "token_type": [3] * 3 + [1] * (len(tokens) - 3)}
    assert build(byte_level_file("llama-bpe", **changes))[0].encode(" xyzzy").tokens[-1] == "Ġxyzzy"
    assert len(build(byte_level_file("qwen2", **changes))[0].encode(" xyzzy").tokens) > 1


@pytest.mark.parametrize(
    ("pre", "changes", "expected"),
    [
        ("smollm", {}, ["the"]),
        ("smollm", {"add_bos_token": True}, ["<|im_start|>", "the"]),
        ("smollm", {"add_bos_token": True, "add_eos_token": True}, ["<|im_start|>", "the", "<|im_end|>"]),
        ("llama-bpe", {}, ["<|im_start|>", "the"]),
        ("llama-bpe", {"add_bos_token": False}, ["the"]),
        ("llama-bpe", {"bos_token_id": None}, ["the"]),
    ],
)
def test_bos_and_eos_are_added_as_the_file_says(pre, changes, expected):
    tokenizer, config = build(byte_level_file(pre, **changes))
    assert tokenizer.encode("the").tokens == expected
    assert tokenizer.encode("the", add_special_tokens=False).tokens == ["the"]
    assert config["add_bos_token"] is (expected[0] == "<|im_start|>")


def test_chat_template_and_user_defined_tokens():
    vocab, _ = tiny_vocabulary()
    tokens = [*vocab, "<tool>"]
    file = byte_level_file(tokens=tokens, token_type=[3] * 3 + [1] * (len(vocab) - 3) + [4])
    file.metadata["tokenizer.chat_template"] = "{{ messages }}"
    tokenizer, config = build(file)
    assert config["chat_template"] == "{{ messages }}"
    assert tokenizer.encode("the<tool>in").tokens == ["the", "<tool>", "in"]
    assert tokenizer.decode(tokenizer.encode("<tool><|im_end|>").ids) == "<tool>"


def test_stop_ids_include_the_turn_end_that_eos_does_not_name():
    assert stop_ids(eos_token_id=0) == (0, 2)
    assert stop_ids(eos_token_id=5, eot_token_id=9) == (5, 0, 2, 9)
    assert stop_ids(eos_token_id=None) == (0, 2)


def stop_ids(**changes):
    return read_vocabulary(byte_level_file(**changes)).find_stop_ids()


def test_every_turn_end_of_a_chat_template_is_looked_for():
    assert set(_TURN_ENDS) <= set(STOP_TEXTS)


@pytest.mark.parametrize("value", [-1, 2**32 - 1, True, 1.5, "<s>", [1]])
def test_special_ids_that_are_no_tokens_are_ignored_and_told(value):
    notes = []
    tokenizer, config = build(
        byte_level_file(bos_token_id=value, padding_token_id=value, add_bos_token=True), notes
    )
    assert [note.split(",")[0].rsplit(" is ")[0] for note in notes] == [
        "x.gguf: tokenizer.ggml.bos_token_id",
        "x.gguf: tokenizer.ggml.padding_token_id",
    ]
    assert all(len(note) < 120 for note in notes)
    assert "bos_token" not in config and "pad_token" not in config and config["add_bos_token"] is False
    assert tokenizer.encode("the").tokens == ["the"]
    assert stop_ids(eos_token_id=value) == (0, 2)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pre": "tekken"}, UnsupportedError, "'tekken' is not supported; known: .*llama-bpe"),
        ({"model": "t5"}, UnsupportedError, "'t5'"),
        ({"merges": None}, CheckpointError, r"lacks tokenizer\.ggml\.merges"),
        ({"merges": ["zz top"]}, CheckpointError, "'zz top'"),
        ({"token_type": [1]}, CheckpointError, "1 token types"),
        ({"tokens": [1, 2], "token_type": None}, CheckpointError, "tokens has 1 in it"),
        ({"tokens": "abc"}, CheckpointError, "tokens is 'abc', of the wrong type"),
        ({"tokens": ["a" * 5000], "token_type": None}, CheckpointError, "5000 characters"),
        ({"token_type": 5}, CheckpointError, "token_type is 5, of the wrong type"),
        ({"token_type": ["3"]}, CheckpointError, "token_type has '3' in it"),
        ({"merges": [["t", "h"]]}, CheckpointError, "merges has a list of 2 in it"),
        ({"pre": ["smollm"]}, CheckpointError, "pre is a list of 1"),
        ({"model": ["gpt2"]}, CheckpointError, "model is a list of 1"),
        (
            {"tokens": ["a", "a"], "token_type": None, "bos_token_id": 0, "eos_token_id": 1},
            CheckpointError,
            "repeats",
        ),
    ],
)
def test_damaged_metadata(changes, error, message):
    with pytest.raises(error, match=message):
        build(byte_level_file(**changes))


@pytest.mark.parametrize("text", ["the thin 12", "héllo 🚀\n\ttabs", "  two", "中文 the"])
def test_sentencepiece_text_comes_back(text):
    tokenizer, _ = build(sentencepiece_file())
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_sentencepiece_merges_the_best_score_first_and_falls_back_to_bytes():
    tokenizer, config = build(sentencepiece_file())
    assert tokenizer.encode("the in").tokens == ["<s>", "▁the", "▁", "in"]
    assert tokenizer.encode("é", add_special_tokens=False).tokens == ["▁", "<0xC3>", "<0xA9>"]
    assert config["unk_token"] == "<unk>" and config["add_bos_token"] is True


def test_sentencepiece_space_prefix_can_be_off():
    tokenizer, _ = build(sentencepiece_file(add_space_prefix=False))
    assert tokenizer.encode("the", add_special_tokens=False).tokens == ["t", "he"]
    assert tokenizer.decode(tokenizer.encode(" the").ids) == " the"


def merges_of(tokens, scores, normal=None):
    is_normal = np.ones(len(tokens), bool) if normal is None else np.array(normal)
    return [[tokens[i] for i in pair] for pair in rank_merges(tokens, np.array(scores, float), is_normal)]


def test_merges_are_ordered_by_score_then_length():
    tokens, scores = ["a", "b", "c", "ab", "bc", "abc"], [0, 0, 0, -2.0, -1.0, -3.0]
    assert merges_of(tokens, scores) == [["b", "c"], ["a", "b"], ["ab", "c"], ["a", "bc"]]
    only_abc = merges_of(tokens, scores, [text == "abc" for text in tokens])
    assert only_abc == [["ab", "c"], ["a", "bc"]]
    assert merges_of([], []) == [] and merges_of(["", "a"], [0, 0]) == []


def test_merges_are_those_of_every_split():
    """Against the rule written out, for a vocabulary with many ties and letters of all planes."""
    rng = np.random.default_rng(0)
    letters = list("ab▁é中🚀\U0010ffff\x00")
    tokens = list(dict.fromkeys("".join(rng.choice(letters, rng.integers(1, 6))) for _ in range(3000)))
    scores, normal = rng.integers(-3, 3, len(tokens)).astype(float), rng.random(len(tokens)) < 0.9
    ids = {text: i for i, text in enumerate(tokens)}
    expected = []
    for i, text in enumerate(tokens):
        splits = [(text[:cut], text[cut:]) for cut in range(1, len(text)) if normal[i]]
        expected += [(scores[i], left, right) for left, right in splits if left in ids and right in ids]
    expected.sort(key=lambda item: (item[0], len(item[1]), len(item[2])), reverse=True)
    assert len(expected) > 1000
    assert merges_of(tokens, scores, normal) == [[left, right] for _, left, right in expected]


@pytest.mark.parametrize("merges", [0, 1, 40_000])
@pytest.mark.parametrize("count", [0, 1, 40_000])
def test_a_large_tokenizer_is_written_as_json_writes_it(count, merges):
    odd = ['"vocab": {}', '"merges": []', "\\", "\n\x00\x7f", "é中🚀", "\u2028"]
    tokens = (odd + [f"t{i}" for i in range(count)])[:count]
    pairs = np.random.default_rng(1).integers(0, max(count, 1), (merges if count else 0, 2), np.int32)
    document = {
        "added_tokens": [{"content": text} for text in odd],
        "model": {"vocab": {}, "merges": []},
        "x": None,
    }
    written = write_tokenizer_json(document, tokens, pairs)
    document["model"]["vocab"] = {text: i for i, text in enumerate(tokens)}
    document["model"]["merges"] = [[tokens[left], tokens[right]] for left, right in pairs]
    assert written == json.dumps(document, ensure_ascii=False, indent=1).encode()


def test_scores_must_match_tokens():
    with pytest.raises(CheckpointError, match="2 scores"):
        build(sentencepiece_file(scores=[0.0, 1.0]))

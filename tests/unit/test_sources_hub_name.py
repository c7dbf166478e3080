"""What on the hub a SOURCE names, and which GGUF file of a repository is meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from mlcweb.errors import SourceError
from mlcweb.sources.hub.cache import find_snapshot
from mlcweb.sources.hub.gguf import choose, is_complete, models_in
from mlcweb.sources.hub.name import HubName, parse_hub_name
from mlcweb.words import quoted

REPO = "org/tiny"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (REPO, HubName(REPO)),
        (f"{REPO}/", HubName(REPO)),
        (f"{REPO}:Q4_K_M", HubName(REPO, quant="Q4_K_M")),
        (f"{REPO}:a-Q4_0.gguf", HubName(REPO, file="a-Q4_0.gguf")),
        (f"hf.co/{REPO}", HubName(REPO)),
        (f"hf.co/{REPO}:IQ4_XS", HubName(REPO, quant="IQ4_XS")),
        (f"https://huggingface.co/{REPO}", HubName(REPO)),
        (f"https://huggingface.co/{REPO}/?library=transformers#files", HubName(REPO)),
        (f"http://www.huggingface.co/{REPO}/discussions/3", HubName(REPO)),
        (f"https://huggingface.co/{REPO}/tree/main", HubName(REPO, "main")),
        (f"https://huggingface.co/{REPO}/tree/refs%2Fpr%2F1", HubName(REPO, "refs/pr/1")),
        (f"https://huggingface.co/{REPO}/commit/0123abc", HubName(REPO, "0123abc")),
        (f"huggingface.co/{REPO}/blob/v2/config.json", HubName(REPO, "v2")),
        (
            f"https://huggingface.co/{REPO}/resolve/main/model.safetensors?download=true",
            HubName(REPO, "main"),
        ),
        (
            f"https://huggingface.co/{REPO}/resolve/main/Q4/a%20b.gguf?download=true",
            HubName(REPO, "main", file="Q4/a b.gguf"),
        ),
        ("nowhere", None),
        ("./a/b", None),
        ("a/b/c", None),
        ("a/b.gguf", None),
        (f"{REPO}:", None),
        ("C:\\models\\x", None),
    ],
)
def test_names(spec: str, expected: HubName | None) -> None:
    assert parse_hub_name(spec) == expected


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("https://example.com/a/b", "elsewhere than on the Hugging Face hub"),
        ("ftp://huggingface.co/a/b", "elsewhere"),
        ("https://huggingface.co/datasets/a/b", "not a model's address"),
        ("https://huggingface.co/a", "not a model's address"),
        ("https://huggingface.co/a/b@c", "a/b@c is not a model id"),
        ("https://huggingface.co/a/b/tree/main/onnx", "a folder inside a repository"),
        ("https://huggingface.co/a/b/blob/main/onnx/model.safetensors", "a folder inside"),
        ("https://[x/a/b", "is not an address"),
    ],
)
def test_addresses_that_are_no_models(spec: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        parse_hub_name(spec)


def test_the_address_of_another_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:8080")
    assert parse_hub_name(f"http://127.0.0.1:8080/{REPO}/tree/v1") == HubName(REPO, "v1")


def test_two_revisions() -> None:
    address = f"https://huggingface.co/{REPO}/tree/v1"
    assert parse_hub_name(address, "v1") == HubName(REPO, "v1")
    with pytest.raises(SourceError, match="at revision v1, and --revision says v2"):
        parse_hub_name(address, "v2")


FILES = (
    *("README.md", "tiny-Q4_K_M.gguf", "tiny-Q4_K_S.gguf", "tiny-UD-Q4_K_M.gguf", "tiny.q8_0.gguf"),
    *("mmproj-tiny-F16.gguf", "tiny.imatrix.gguf", "BF16/tiny-BF16-00002-of-00002.gguf"),
    *("BF16/tiny-BF16-00001-of-00002.gguf", "tiny-Q5_K_M-a.gguf", "tiny-Q5_K_M-b.gguf"),
)


@pytest.mark.parametrize(
    ("quant", "files"),
    [
        ("Q4_K_M", ["tiny-Q4_K_M.gguf"]),
        ("ud-q4_k_m", ["tiny-UD-Q4_K_M.gguf"]),
        ("Q8_0", ["tiny.q8_0.gguf"]),
        ("bf16", [f"BF16/tiny-BF16-0000{i}-of-00002.gguf" for i in (1, 2)]),
    ],
)
def test_a_quantization_picks_its_files(quant: str, files: list[str]) -> None:
    assert choose(HubName(REPO, quant=quant), FILES) == files
    assert is_complete(files)


def test_a_file_picks_all_its_parts() -> None:
    files = choose(HubName(REPO, file="BF16/tiny-BF16-00002-of-00002.gguf"), FILES)
    assert files == [f"BF16/tiny-BF16-0000{i}-of-00002.gguf" for i in (1, 2)]
    assert not is_complete(files[:1])


@pytest.mark.parametrize(
    ("named", "said", "hint"),
    [
        (HubName(REPO), "has 7 GGUF files and no safetensors", f"{REPO}:UD-Q4_K_M"),
        (HubName(REPO, quant="Q2_K"), "no GGUF file of Q2_K", f"{REPO}:Q4_K_S"),
        (HubName(REPO, quant="K_M"), "several GGUF files of K_M", f"{REPO}:tiny-Q4_K_M.gguf"),
        (HubName(REPO, quant="Q5_K_M"), "several GGUF files of Q5_K_M", f"{REPO}:tiny-Q5_K_M-a.gguf"),
        (HubName(REPO, file="x.gguf"), "has no file x.gguf", f"{REPO}:tiny-Q5_K_M-a.gguf"),
    ],
)
def test_what_to_give_instead_is_told(named: HubName, said: str, hint: str) -> None:
    with pytest.raises(SourceError) as caught:
        choose(named, FILES)
    assert said in caught.value.message and hint in caught.value.hint


def test_a_repository_without_gguf() -> None:
    assert models_in(["model.safetensors", "mmproj-model-f16.gguf"]) == {}
    with pytest.raises(SourceError, match="has no GGUF files") as caught:
        choose(HubName(REPO, quant="Q4_0"), ["model.safetensors"])
    assert "--quant" in caught.value.hint


def test_which_commit_of_a_cached_repository(tmp_path: Path) -> None:
    folder = tmp_path / "models--org--some--name"
    for commit in ("aaa", "bbb"):
        (folder / "snapshots" / commit).mkdir(parents=True)
    with pytest.raises(SourceError, match="does not say which commit is meant; it holds aaa, bbb"):
        find_snapshot(folder, None)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("bbb\n")
    assert find_snapshot(folder, None) == (folder / "snapshots" / "bbb", "org/some--name", "bbb")
    assert find_snapshot(folder, "aaa") == (folder / "snapshots" / "aaa", "org/some--name", "aaa")
    with pytest.raises(SourceError, match="has no revision"):
        find_snapshot(folder, "../refs/main")
    assert find_snapshot(tmp_path, None) is None
    assert find_snapshot(folder / "refs", None) is None


@pytest.mark.parametrize("name", ["plain", "with space", "it's", 'a"b', "$HOME", "-dash", "a;b", "*", "ünï"])
def test_words_of_a_command_survive_a_shell(name: str) -> None:
    (word,) = shlex.split(quoted(Path(name)))
    assert Path(word) == Path(name) and not word.startswith("-")

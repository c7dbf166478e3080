"""``mlcweb eval`` on compiled tiny models, and the evaluation that a compile ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.bundle import Quality, open_bundle, same_share
from mlcweb.cli.command import run
from mlcweb.compile import CompileRequest, CompileResult, compile_bundle
from mlcweb.evaluate.quality import quality_warning, token_count
from mlcweb.evaluate.text import held_out, windows
from mlcweb.quantize import get_scheme
from mlcweb.quantize.suited import better_scheme
from mlcweb.reference.prompt import PromptRenderer
from tests.support.llama_cases import host
from tests.support.tiny import TinyLlama, make_llama

MODEL = TinyLlama(dtype="float32")
TEXT = "The ship sailed at night. Nobody on the pier had expected it, and nobody waved."


def compiled(source: Path, out: Path, quantization: str = "q4f32_1", **options: Any) -> CompileResult:
    request = CompileRequest(
        str(source), quantization=quantization, tiers=("base",), out_dir=out, context_length=128, **options
    )
    return compile_bundle(request)


pytestmark = pytest.mark.slow  # it compiles models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source, and a bundle of it in each of three schemes."""
    folder = tmp_path_factory.mktemp("models")
    make_llama(folder / "source", MODEL)
    for scheme in ("q4f32_1", "q8f32_1", "q0f32"):
        compiled(folder / "source", folder / scheme, scheme)
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    return folder


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    assert run(["eval", *map(str, arguments), "--format", "json"]) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


@pytest.mark.slow
def test_against_the_source(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More bits are nearer, and none lost is the same; the numbers are those of a plain loop over the model."""
    actual = evaluated(
        capsys,
        *(models / scheme for scheme in ("q4f32_1", "q8f32_1", "q0f32")),
        "--against",
        models / "source",
        "--text",
        models / "text.txt",
    )
    q4, q8, q0 = actual["bundles"]
    assert q4["kl_mean"] > 20 * q8["kl_mean"] > 0
    assert q0["kl_mean"] < 1e-9 and q0["same"] == 1
    assert q0["perplexity"] == pytest.approx(actual["against"]["perplexity"], rel=1e-6)
    assert (q4["quantization"], q4["runs_on"], actual["against"]["quantization"]) == (
        "q4f32_1",
        "host",
        "source",
    )
    assert 4.5 < q4["bits_per_weight"] < 6 and q0["bits_per_weight"] == 32
    tokens, prefix = PromptRenderer(
        {
            name: (models / "source" / name).read_bytes()
            for name in ("tokenizer.json", "tokenizer_config.json")
        }
    ).text(TEXT)
    assert prefix == [] and actual["tokens"] == len(tokens) and q4["tokens"] == len(tokens) - 1
    logits = host(MODEL, capacity=128).feed_each(tokens).astype(np.float64)
    losses = [
        np.log(np.exp(row - row.max()).sum()) + row.max() - row[token]
        for row, token in zip(logits[:-1], tokens[1:], strict=True)
    ]
    assert actual["against"]["perplexity"] == pytest.approx(float(np.exp(np.mean(losses))), rel=1e-5)


def test_against_a_bundle_and_alone(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ("--text", models / "text.txt")
    by_source = evaluated(capsys, models / "q4f32_1", "--against", models / "source", *text)["bundles"][0]
    by_bundle = evaluated(capsys, models / "q4f32_1", "--against", models / "q0f32", *text)["bundles"][0]
    assert by_bundle == {
        **by_source,
        "kl_mean": pytest.approx(by_source["kl_mean"], rel=1e-5),
        "kl_p99": pytest.approx(by_source["kl_p99"], rel=1e-4),
        "perplexity": pytest.approx(by_source["perplexity"]),
    }
    alone = evaluated(capsys, models / "q4f32_1", *text)
    assert alone["against"] is None and alone["bundles"][0]["kl_mean"] is None
    assert alone["bundles"][0]["perplexity"] == pytest.approx(by_source["perplexity"])


def test_as_text_with_few_tokens_and_a_plot(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "plot.svg"
    bundles = [str(models / scheme) for scheme in ("q4f32_1", "q8f32_1", "q0f32")]
    assert (
        run(["eval", *bundles, "--against", str(models / "source"), "--tokens", "200", "--svg", str(plot)])
        == 0
    )
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert (
        " ".join(lines[0].split()) == "MODEL SIZE BITS A WEIGHT RUNS ON PERPLEXITY MEAN KL 99 % KL SAME TOKEN"
    )
    assert [line.split()[0] for line in lines[1:]] == [
        "source",
        *(f"source-{b.split('/')[-1]}" for b in bundles),
    ]
    assert "200 tokens of text (held out) in 2 windows" in said.err
    drawn = plot.read_text()
    assert all(f">{scheme}<" in drawn for scheme in ("q4f32_1", "q8f32_1", "q0f32"))
    assert drawn.count("bits, KL") == 3 and "<script" not in drawn


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Missing argument 'BUNDLE...'"),
        (("{q4}", "--source", "pypi"), 2, "--source needs --against"),
        (("{q4}", "--adapter", "x"), 2, "--adapter needs --against"),
        (("{q4}", "--svg", "x.svg"), 2, "--svg needs --against"),
        (("{q4}", "--tier", "base"), 2, "--tier needs --browser"),
        (("{q4}", "--chromium", "x"), 2, "--chromium needs --browser"),
        (("{q4}", "--tokens", "1"), 2, "--tokens"),
        (("{q4}", "--text", "absent.txt"), 2, "absent.txt"),
        (("absent",), 1, "no bundle at absent"),
        (("{q4}", "--against", "no-such"), 1, "no recipe is called 'no-such'"),
        (("{q4}", "--against", "{q0}", "--source", "hub"), 1, "--source and --adapter describe a source"),
        (("{q4}", "--browser", "--tier", "f16", "--text", "{text}"), 1, "has no tier 'f16'; it has base"),
        (
            ("{q4}", "--against", "{source}", "--svg", "/no/such/x.svg", "--text", "{text}"),
            1,
            "/no/such/x.svg",
        ),
    ],
)
def test_what_is_refused(
    models: Path, arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {
        "q4": models / "q4f32_1",
        "q0": models / "q0f32",
        "source": models / "source",
        "text": models / "text.txt",
    }
    assert run(["eval", *(argument.format(**names) for argument in arguments)]) == code
    assert message in capsys.readouterr().err


def test_models_that_cannot_be_compared(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_llama(tmp_path / "other", TinyLlama(vocab=321))
    assert run(["eval", str(models / "q4f32_1"), "--against", str(tmp_path / "other")]) == 1
    assert "have different tokens" in capsys.readouterr().err


def edited(bundle: Path, out: Path, change: Any, config: Any = None) -> Path:
    """A copy of a bundle with another manifest."""
    out.mkdir()
    for file in bundle.iterdir():
        if file.name != "mlcweb.json":
            (out / file.name).symlink_to(file)
    manifest = json.loads((bundle / "mlcweb.json").read_text())
    change(manifest)
    (out / "mlcweb.json").write_text(json.dumps(manifest))
    return out


def test_a_bundle_without_a_config_takes_its_sources(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bundles of before there was one still load, and are judged where the source is at hand."""

    def without(manifest: dict[str, Any]) -> None:
        del manifest["files"][manifest.pop("config")], manifest["quality"]

    old = edited(models / "q4f32_1", tmp_path / "old", without)
    text = ("--text", str(models / "text.txt"))
    assert open_bundle(old).manifest.quality is None
    assert run(["eval", str(old), *text]) == 1
    assert "does not hold its model's config.json" in capsys.readouterr().err
    expected = evaluated(capsys, models / "q4f32_1", "--against", models / "source", *text)["bundles"][0]
    actual = evaluated(capsys, old, "--against", models / "source", *text)["bundles"][0]
    assert actual == {**expected, "bytes": actual["bytes"]}
    assert run(["inspect", str(old)]) == 0
    assert "not measured" in capsys.readouterr().out


@pytest.mark.parametrize(("field", "value"), [("layers", 2**31 - 1), ("hidden_size", 128), ("head_dim", 32)])
def test_a_config_of_another_model_is_refused(
    models: Path, tmp_path: Path, field: str, value: int, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = edited(
        models / "q4f32_1", tmp_path / "bad", lambda manifest: manifest["model"].update({field: value})
    )
    assert run(["eval", str(bad)]) == 1
    assert "in the manifest, and" in capsys.readouterr().err


def test_a_damaged_bundle_is_named_before_it_runs(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = edited(models / "q4f32_1", tmp_path / "bad", lambda manifest: None)
    chunk = next(bad.glob("weights-000*"))
    data = bytearray(chunk.read_bytes())
    chunk.unlink()
    data[100] ^= 1
    chunk.write_bytes(data)
    assert run(["eval", str(bad)]) == 1
    assert "differs from the manifest's sha256" in capsys.readouterr().err


@pytest.mark.slow
def test_a_compile_ends_with_it(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    q4, q8, q0 = (open_bundle(models / s).manifest.quality for s in ("q4f32_1", "q8f32_1", "q0f32"))
    assert q4 and q8 and q0
    assert q4.tokens == 127 and q4.kl_micronats > 20 * q8.kl_micronats > q0.kl_micronats == 0
    assert same_share(q0) == 1 and q0.perplexity_thousandths == q0.source_perplexity_thousandths
    assert run(["inspect", str(models / "q4f32_1"), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert Quality(**shown["quality"]) == q4
    assert run(["inspect", str(models / "q4f32_1")]) == 0
    assert f"on {q4.tokens} tokens" in capsys.readouterr().out
    without = compiled(models / "source", tmp_path / "without", evaluate=False)
    assert without.quality is None and "evaluate" not in without.stages
    assert open_bundle(without.path).manifest.quality is None
    again = compiled(models / "source", tmp_path / "without")
    assert not again.reused and again.quality == q4
    assert compiled(models / "source", tmp_path / "without").quality == q4


def test_the_compile_says_what_would_be_better(models: Path) -> None:
    good, bad = Quality(100, 90, 5, 5, 10, 10), Quality(100, 89, 5, 5, 10, 10)
    assert quality_warning(good, get_scheme("q4f32_1"), gguf=False) is None
    said = quality_warning(bad, get_scheme("q4f16_1"), gguf=False)
    assert said is not None and "q4f16_1 keeps 89.0 %" in said and said.endswith("--quant q8f16_1 keeps more")
    for scheme, better in (("q3f32_1", "q8f32_1"), ("q8f16_1", "q0f16"), ("q0f16", "q0f32"), ("q0f32", None)):
        assert better_scheme(get_scheme(scheme), gguf=False) == better


def test_a_larger_model_is_judged_on_fewer_tokens() -> None:
    assert [token_count(n) for n in (10**6, 135 * 10**6, 1236 * 10**6, 3 * 10**9, 70 * 10**9)] == [
        160,
        160,
        96,
        32,
        32,
    ]


@pytest.mark.slow
def test_a_short_context_is_enough(tmp_path: Path) -> None:
    make_llama(tmp_path / "source", TinyLlama(layers=1))
    request = CompileRequest(
        str(tmp_path / "source"),
        quantization="q4f32_1",
        tiers=("base",),
        out_dir=tmp_path / "out",
        context_length=70,
    )
    quality = compile_bundle(request).quality
    assert quality is not None and quality.tokens == 69


def test_a_bos_is_given_and_not_predicted(tmp_path: Path) -> None:
    """The tokenizer's post-processor puts it before each window."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    make_llama(tmp_path, MODEL)
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    files = {"tokenizer.json": plain.to_str().encode()}
    expected = PromptRenderer(files).text(held_out())[0]
    for single, before in (
        ("<|im_start|> $A", [1]),
        ("$A <|im_end|>", []),
        ("<|im_start|> $A <|im_end|>", [1]),
    ):
        plain.post_processor = TemplateProcessing(
            single=single, special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)]
        )
        tokens, prefix = PromptRenderer({"tokenizer.json": plain.to_str().encode()}).text(held_out())
        assert (tokens, prefix) == (expected, before)
    cut = windows(tokens, prefix, 64)
    assert sum(window.predicted for window in cut) == len(tokens)

"""A profile's document: read or refused, as a table, and as a picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from mlcweb.cli.command import run
from mlcweb.errors import ProfileError
from mlcweb.numbers import microseconds, per_second
from mlcweb.profile import Profile, draw, headline, kernel_rows, read_profile
from tests.support.profile_sample import op, sample_profile

SVG = "{http://www.w3.org/2000/svg}"


def write(folder: Path, **changes: Any) -> Path:
    file = folder / "profile.json"
    file.write_text(json.dumps(sample_profile(**changes)))
    return file


def bars(svg: str) -> list[ET.Element]:
    return ET.fromstring(svg).findall(f"{SVG}rect[@class='bar']")


def texts(svg: str) -> str:
    return "\n".join(element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text"))


def test_rates_are_of_what_was_measured() -> None:
    profile = Profile.from_json(sample_profile())
    head = next(k for k in profile.decode.kernels if k.name == "decode_head")
    assert head.bytes_per_s == pytest.approx(17_694_720 / 20e-6)
    assert head.of_copy == pytest.approx(17_694_720 / 20e-6 / 1.5e12)
    gate = next(k for k in profile.prefill.kernels if k.op == "gate_up")
    assert gate.flops_per_s == pytest.approx(905_969_664 / 80e-6)
    assert profile.prefill.tokens_per_second == pytest.approx(256 / (profile.prefill.microseconds * 1e-6))


def test_the_table_is_sorted_by_time_and_complete() -> None:
    profile = Profile.from_json(sample_profile())
    rows = kernel_rows(profile, profile.decode)
    assert [row[0] for row in rows[:2]] == ["decode_attend", "decode_gate_up"]
    assert rows[0] == (
        "decode_attend", "30", "8.00 us", "24.9%", "1.6 MB", "200 GB/s", "13%", "150 GFLOP/s", "0.3%",
    )  # fmt: skip
    assert sum(float(row[3].rstrip("%")) for row in rows) == pytest.approx(100, abs=0.5)
    assert rows[-1][:3] == ("decode_embed", "1", "2.00 us")
    assert rows[-1][6:] == ("-", "-", "-"), "no copy is that small, and it computes nothing"
    line = headline("decode", profile.decode)
    assert "1 token at position 512; 184 dispatches in 1.06 ms (945 tok/s), 42.0 us of CPU" in line


def test_every_launch_is_a_bar_as_wide_as_its_time() -> None:
    document = sample_profile()
    svg = draw(Profile.from_json(document))
    actual = bars(svg)
    launches = document["decode"]["timeline"]["launches"] + document["prefill"]["timeline"]["launches"]
    # what does not fit its row goes on in the next: four rows and three
    assert len(launches) <= len(actual) <= len(launches) + 5
    for name in ("decode", "prefill"):
        launches = document[name]["timeline"]["launches"]
        total = sum(launch["microseconds"] for launch in launches)
        mine = [bar for bar in actual if bar.findtext(f"{SVG}title", "").startswith((name, "sample"))]
        mine = [
            bar for bar in mine if name == "decode" or not bar.findtext(f"{SVG}title", "").startswith("s")
        ]
        rows = len({bar.get("y") for bar in mine})
        width = sum(float(bar.get("width", 0)) for bar in mine)
        assert width == pytest.approx(1100 * rows, rel=1e-3)
        head = [bar for bar in mine if f"{name}_head" in bar.findtext(f"{SVG}title", "")]
        us = next(launch["microseconds"] for launch in launches if launch["kernel"] == f"{name}_head")
        drawn = sum(float(bar.get("width", 0)) for bar in head)
        assert drawn == pytest.approx(us / total * rows * 1100, rel=0.02)


def test_an_operation_has_one_colour_and_a_place_in_the_legend() -> None:
    svg = draw(Profile.from_json(sample_profile()))
    colours: dict[str, set[str]] = {}
    for bar in bars(svg):
        name = op(bar.findtext(f"{SVG}title", "").split(":")[0])
        colours.setdefault(name, set()).add(bar.get("fill", ""))
    assert all(len(actual) == 1 for actual in colours.values())
    assert len({min(actual) for actual in colours.values()}) == len(colours)
    shown = texts(svg).splitlines()
    assert set(colours) <= set(shown)
    assert {"24.9%", "45.7%", "885 GB/s, 59% of a copy", "11.3 TFLOP/s, 23% of f32"} <= set(shown)


def test_the_picture_is_static_and_follows_the_viewers_scheme() -> None:
    svg = draw(Profile.from_json(sample_profile()))
    assert "<script" not in svg and "href" not in svg and "@import" not in svg
    assert "prefers-color-scheme: dark" in svg
    assert svg == draw(Profile.from_json(sample_profile()))


def test_the_picture_says_how_launches_were_timed() -> None:
    document = sample_profile(timing="wall")
    for source, said in (
        ("chains", "no timestamps"),
        ("stamps", "timestamp after each"),
        ("passes", "pass of its own"),
    ):
        for name in ("decode", "prefill"):
            document[name]["timeline"]["source"] = source
        shown = texts(draw(Profile.from_json(document)))
        assert [x for x in ("no timestamps", "timestamp after each", "pass of its own") if x in shown] == [
            said
        ]


def test_rounded_activations_are_named_and_keep_their_colours() -> None:
    plain = Profile.from_json(sample_profile())
    document = json.loads(
        json.dumps(sample_profile(activations="int8")).replace("prefill_qkv", "prefill_int8_qkv")
    )
    rounded = Profile.from_json(document)
    assert "int8 activations" in texts(draw(rounded)) and "int8" not in texts(draw(plain))
    assert [bar.get("fill") for bar in bars(draw(rounded))] == [bar.get("fill") for bar in bars(draw(plain))]
    document["activations"] = "matrix"
    assert "on subgroup matrices" in texts(draw(Profile.from_json(document)))


def test_hostile_names_stay_text() -> None:
    svg = draw(Profile.from_json(sample_profile(name="<script>alert(1)</script>", adapter='"]]>&')))
    assert ET.fromstring(svg).find(f".//{SVG}script") is None
    assert "<script>alert(1)</script>" in texts(svg)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "mlcweb-bundle"}, "is not a profile"),
        ({"version": 1}, "version 1"),
        ({"decode": {}}, "damaged: KeyError"),
        ({"device": {"copy": [], "f32_flops_per_s": 0, "f16_flops_per_s": None}}, "damaged"),
        ({"device": {"copy": [], "f32_flops_per_s": "NaN", "f16_flops_per_s": None}}, "damaged"),
    ],
)
def test_what_is_no_profile_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=said) as caught:
        read_profile(write(tmp_path, **changes))
    assert "profile.json" in str(caught.value) and caught.value.hint


def test_a_timeline_of_other_kernels_is_refused() -> None:
    document = sample_profile()
    document["decode"]["timeline"]["launches"][3]["kernel"] = "unheard_of"
    with pytest.raises(ProfileError, match="timeline"):
        Profile.from_json(document)


def test_the_command_shows_and_draws_a_stored_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, svg = write(tmp_path, machine="One GPU"), tmp_path / "out.svg"
    assert run(["bench", "--from", str(file), "--svg", str(svg)]) == 0
    out, err = capsys.readouterr()
    assert "machine              One GPU" in out
    assert "prefill: 256 tokens at position 0; 122 dispatches" in out
    assert "drawn in" in err
    assert len(bars(svg.read_text())) > 300
    assert run(["bench", "--from", str(file), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(file.read_text())


@pytest.mark.parametrize(
    "arguments", [[], ["--svg", "x.svg"], ["--from", "a.json", "."], ["--profile"]], ids=" ".join
)
def test_wrong_usage(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlcweb.json").write_text("{}")
    assert run(["bench", *arguments]) == 2
    assert "error:" in capsys.readouterr().err


def test_no_such_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--from", "missing.json", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "not-found"


def test_numbers_have_three_digits() -> None:
    assert [microseconds(us) for us in (4.214, 99.96, 312, 999.6, 1084, 2.05e6)] == [
        "4.21 us", "100 us", "312 us", "1.00 ms", "1.08 ms", "2.05 s",
    ]  # fmt: skip
    assert [per_second(x, "B") for x in (12, 9.996e11, 1.926e12, 5e16)] == [
        "12.0 B/s", "1.00 TB/s", "1.93 TB/s", "50,000 TB/s",
    ]  # fmt: skip

"""Pictures in a real browser: everything that a page has them in becomes the same pixels, also in workers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from mlcweb.browser.page import open_page
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.firefox import open_firefox
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.model_page import Site
from tests.support.browser.vulkan import vulkan_of
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine

TILE = 8
FACTS = {
    "tile": TILE,
    "patch": 2,
    "merge": 1,
    "resample": "bilinear",
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
    "token": "<image>",
    "row": "<image>",
    "prompt": {"tile": "", "row_end": "", "before_whole": "", "whole": "", "end": ""},
}
#: What the tests call, of a page that has ``code``.
HELPERS = f"""const facts = {json.dumps(FACTS)};
// A picture of the tile's size is not resized.
window.read = async (image, signal) => {{
  const [{{ tiles }}] = await code.readPictures([{{ image, path: "at" }}], facts, signal);
  return [...tiles[0]];
}};
window.refused = (image, signal) => read(image, signal).then(() => "nothing", ({{ code, message, hint }}) => {{
  return {{ code, message, hint }};
}});
const pixel = (_, i) => i % 4 === 3 ? 255 : (i * 37) % 256;
window.pixels = () => Uint8ClampedArray.from({{ length: {TILE * TILE * 4} }}, pixel);
window.drawn = (data, width = {TILE}) => {{
  const canvas = new OffscreenCanvas(width, data.length / 4 / width);
  canvas.getContext("2d").putImageData(new ImageData(data, width), 0, 0);
  return canvas;
}};
"""
PAGE = f"""<!doctype html><title>pictures</title><link rel="icon" href="data:,">
<script type="module">
import {{ code }} from "./images.js";
{HELPERS}
window.ready = true;
</script>"""
WORKER = f"""import {{ code }} from "./images.js";
const facts = {json.dumps(FACTS)};
const answer = (port) => async ({{ data }}) => {{
  const [{{ tiles }}] = await code.readPictures([{{ image: data, path: "at" }}], facts);
  port.postMessage([...tiles[0]]);
}};
self.onconnect = ({{ ports: [port] }}) => {{ port.onmessage = answer(port); }};
self.onmessage = answer(self);"""
EXPECTED = [i * 37 % 256 for i in range(TILE * TILE * 4) if i % 4 < 3]


@pytest.fixture(scope="module")
def page(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("app")
    for name in ("mlcweb.js", "images.js"):
        shutil.copy(ENGINE / name, folder)
    for name, text in (("app.html", PAGE), ("worker.js", WORKER)):
        (folder / name).write_text(text)
    with (
        EngineServer(folder, Mini().write(tmp_path_factory.mktemp("mini"))) as server,
        open_page(chromium, hold_signals=False) as opened,
    ):
        opened.open(f"{server.url}app.html", ready="() => window.ready")
        yield opened.raw


def run(page: Page, body: str, given: Any = None) -> Any:
    """What the body of an async function returns, or a failure after a minute."""
    script = f"""(given) => Promise.race([(async () => {{ {body} }})(),
      new Promise((_, reject) => setTimeout(() => reject(new Error("hangs")), 60000))])"""
    return page.evaluate(script, given)


SOURCES = {
    "a PNG": "await drawn(pixels()).convertToBlob()",
    "a File": "new File([await drawn(pixels()).convertToBlob()], 'a.png')",
    "a blob URL": "URL.createObjectURL(await drawn(pixels()).convertToBlob())",
    "a data URL": "await new Promise(async (done) => { const reader = new FileReader();"
    " reader.onload = () => done(reader.result);"
    " reader.readAsDataURL(await drawn(pixels()).convertToBlob()); })",
    "a bitmap": "await createImageBitmap(drawn(pixels()))",
    "an offscreen canvas": "drawn(pixels())",
    "a canvas": "(() => { const canvas = document.createElement('canvas');"
    f" canvas.width = canvas.height = {TILE};"
    " canvas.getContext('2d').drawImage(drawn(pixels()), 0, 0); return canvas; })()",
    "image data": f"new ImageData(pixels(), {TILE})",
    "an image that still loads": "Object.assign(new Image(),"
    " { src: URL.createObjectURL(await drawn(pixels()).convertToBlob()) })",
    "a frame": "new VideoFrame(drawn(pixels()), { timestamp: 0 })",
}


@pytest.mark.parametrize("source", SOURCES)
def test_all_sources_have_the_same_pixels(page: Page, source: str) -> None:
    if source == "a frame":  # a codec's colors are not exact
        got = run(page, f"return read({SOURCES[source]})")
        assert max(abs(a - b) for a, b in zip(got, EXPECTED, strict=True)) <= 2
    else:
        assert run(page, f"return read({SOURCES[source]})") == EXPECTED


def test_firefox_has_the_same_pixels(
    firefox: Path, chromium: Path, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("firefox")
    with open_firefox(firefox, vulkan_of(chromium), site, folder) as page:
        page.evaluate(
            f"async () => {{ const {{ code }} = await import('./images.js');\n{HELPERS} return 1; }}"
        )
        for source, made in SOURCES.items():
            if source == "a frame":
                continue
            assert page.evaluate(f"async () => read({made})") == EXPECTED, source
        check_turned(page.evaluate(f"async () => {{ {TURNED} }}"))
        refused = page.evaluate("async () => refused(new Blob(['words']))")
        assert refused["code"] == "invalid-request" and "cannot be decoded" in refused["message"]


@pytest.mark.parametrize("kind", ["Worker", "SharedWorker"])
def test_in_workers(page: Page, kind: str) -> None:
    got = run(
        page,
        f"""const worker = new {kind}("./worker.js", {{ type: "module" }});
        const port = worker.port ?? worker;
        const answer = (image) => new Promise((resolve, reject) => {{
          worker.onerror = () => reject(new Error("the worker failed"));
          port.onmessage = ({{ data }}) => resolve(data);
          port.postMessage(image);
        }});
        const blob = await drawn(pixels()).convertToBlob();
        return [await answer(blob), await answer(await createImageBitmap(blob))];""",
    )
    assert got == [EXPECTED, EXPECTED]


def test_transparency_is_on_white(page: Page) -> None:
    body = f"""const data = pixels().map((_, i) => [255, 0, 0, i < {TILE * TILE * 2} ? 0 : 128][i % 4]);
    return [await read(await drawn(data).convertToBlob()), await read(new ImageData(data, {TILE}))];"""
    for got in run(page, body):
        half = TILE * TILE * 3 // 2
        assert set(got[:half]) == {255}
        assert got[half] == 255 and all(abs(value - 127) <= 1 for value in got[half + 1 : half + 3])


#: A photo whose left half is red and right half blue, turned by 90 degrees: red is above.
TURNED = f"""const [width, height] = [{TILE * 2}, {TILE}];
        const data = Uint8ClampedArray.from({{ length: width * height * 4 }},
          (_, i) => (((i >> 2) % width < width / 2) ? [255, 0, 0, 255] : [0, 0, 255, 255])[i % 4]);
        const jpeg = await drawn(data, width).convertToBlob({{ type: "image/jpeg", quality: 1 }});
        const bytes = new Uint8Array(await jpeg.arrayBuffer());
        // Exif, big-endian, one entry: orientation, a short, 6
        const exif = [0x45, 0x78, 0x69, 0x66, 0, 0, 0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1,
          1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0];
        const app1 = [0xff, 0xe1, 0, exif.length + 2, ...exif];
        return read(new Blob([bytes.slice(0, 2), Uint8Array.from(app1), bytes.slice(2)]));"""


def check_turned(got: list[int]) -> None:
    first, last = got[:3], got[-3:]
    assert first[0] > 200 and first[2] < 60 and last[2] > 200 and last[0] < 60
    assert all(value > 200 for value in got[: TILE * 3 : 3])


def test_a_photo_is_turned_as_its_exif_says(page: Page) -> None:
    check_turned(run(page, TURNED))


REFUSED = {
    "an empty blob": ("new Blob([])", "invalid-request", "at: is empty."),
    "a broken GIF": ("new Blob(['GIF89a'], { type: 'image/gif' })", "invalid-request", "decoded (image/gif)"),
    "a text": ("new Blob(['words'], { type: 'text/plain' })", "invalid-request", "decoded (text/plain)"),
    "an SVG": (
        "new Blob(['<svg/>'], { type: 'image/svg+xml' })",
        "invalid-request",
        "decoded (image/svg+xml)",
    ),
    "a broken image": (
        "Object.assign(new Image(), { src: 'data:image/png;base64,AAAA' })",
        "invalid-request",
        "cannot be decoded",
    ),
    "a closed bitmap": (
        "await createImageBitmap(drawn(pixels())).then((bitmap) => { bitmap.close(); return bitmap; })",
        "invalid-request",
        "cannot be decoded",
    ),
    "an empty canvas": ("new OffscreenCanvas(0, 5)", "invalid-request", "cannot be decoded"),
    "a URL of nothing": ("location.origin + '/nothing.png'", "invalid-request", "its host answers 404"),
    "a host that is not there": ("'http://127.0.0.1:9/a.png'", "network", "cannot be fetched"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_picture_is_refused(page: Page, what: str) -> None:
    image, code, message = REFUSED[what]
    refused = run(page, f"return refused({image})")
    assert refused["code"] == code and message in refused["message"] and refused["hint"]


def test_a_picture_of_another_origin(page: Page, tmp_path: Path) -> None:
    """Its host lets no other page read it."""
    png = run(page, "return [...new Uint8Array(await (await drawn(pixels()).convertToBlob()).arrayBuffer())]")
    (tmp_path / "dot.png").write_bytes(bytes(png))
    with EngineServer(tmp_path, Mini().write(tmp_path / "mini")) as other:
        url = f"{other.url}dot.png"
        fetched = run(page, "return refused(given)", url)
        assert fetched["code"] == "network" and "CORS" in fetched["hint"]
        shown = run(page, "return refused(Object.assign(new Image(), { src: given }))", url)
        assert shown["code"] == "invalid-request" and "may not read its pixels" in shown["message"]


def test_an_abort_is_heard(page: Page) -> None:
    body = """const stop = new AbortController();
    const asked = refused(await drawn(pixels()).convertToBlob(), stop.signal);
    stop.abort();
    return asked;"""
    assert run(page, body)["code"] == "cancelled"

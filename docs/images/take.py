"""Takes the pages' pictures for the docs: the real page, a real model, answers as they come.

    .venv/bin/python docs/images/take.py dist/SmolLM2-135M-Instruct-gguf
    .venv/bin/python docs/images/take.py dist/all-MiniLM-L6-v2-q8f16_1 --search
    .venv/bin/python docs/images/take.py dist/smolvlm-q8f32_1 --picture
    .venv/bin/python docs/images/take.py dist/SmolLM2-135M-Instruct-gguf --without-webgpu

``make demo`` makes the first bundle; the second one's pictures are of the search page, and the third one's is of a
conversation about a picture (tests.fixtures.images makes a tiny model, whose words mean nothing). MLCWEB_CHROMIUM
names the browser, and MLCWEB_CHROMIUM_FLAGS gives it more flags. ``--all DIR`` takes every state of the chat page,
light, dark and narrow, for looking at. Pictures are nicer where a good sans-serif is installed (Debian: fonts-inter).
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from mlcweb.browser.find import find_chromium
from mlcweb.browser.page import EXTRA_FLAGS, FLAGS
from mlcweb.serve import serving

HERE = Path(__file__).resolve().parent
PATIENCE_MS = 180_000
QUESTIONS = ("What is the capital of France?", "Give me three tips for writing clearly.")
SCHEMA = """{
  "type": "object",
  "properties": {
    "city": {"type": "string"},
    "country": {"type": "string"},
    "continent": {"enum": ["Asia", "Europe"]}
  }
}"""


# A picture to ask about: hills, a lake and the sun.
SCENE = """async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 420 });
  const context = canvas.getContext("2d");
  const fill = (style, ...points) => {
    context.fillStyle = style;
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.fill();
  };
  const sky = context.createLinearGradient(0, 0, 0, 300);
  sky.addColorStop(0, "#3b6fb5");
  sky.addColorStop(1, "#f7d9a8");
  fill(sky, [0, 0], [640, 0], [640, 420], [0, 420]);
  context.fillStyle = "#fff3d0";
  context.beginPath();
  context.arc(470, 180, 38, 0, 7);
  context.fill();
  fill("#6d7fa3", [0, 300], [150, 110], [300, 300]);
  fill("#55678c", [180, 300], [380, 150], [640, 300]);
  fill("#eef3fb", [118, 150], [150, 110], [182, 150], [160, 142], [146, 156]);
  const lake = context.createLinearGradient(0, 290, 0, 420);
  lake.addColorStop(0, "#c9b795");
  lake.addColorStop(1, "#2d5a86");
  fill(lake, [0, 290], [640, 290], [640, 420], [0, 420]);
  fill("#2f4a3a", [0, 330], [120, 300], [240, 350], [0, 420]);
  const blob = await new Promise((done) => canvas.toBlob(done));
  return [...new Uint8Array(await blob.arrayBuffer())];
}"""


WITHOUT_WEBGPU = ("--disable-gpu", "--disable-features=WebGPU")


@contextmanager
def browser(flags: Sequence[str] = FLAGS) -> Iterator[Browser]:
    flags = [*flags, *shlex.split(os.environ.get(EXTRA_FLAGS, ""))]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=find_chromium(), headless=True, chromium_sandbox=os.geteuid() != 0, args=flags
        )
        yield running
        running.close()


def open_page(running: Browser, url: str, width: int = 1200, height: int = 800) -> Page:
    page = running.new_page(
        viewport={"width": width, "height": height}, device_scale_factor=2, color_scheme="light"
    )
    page.goto(url)
    return page


def wait_until_loaded(page: Page) -> None:
    expect(page.locator("#composer")).to_be_visible(timeout=PATIENCE_MS)
    page.locator("#settings").click()
    page.locator("#temperature").fill("0")
    page.locator("#top-p").fill("1")
    page.locator("#max-tokens").fill("160")
    page.keyboard.press("Escape")


def ask(page: Page, question: str) -> None:
    done = page.locator(".meta").count()
    page.locator("#input").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator(".meta")).to_have_count(done + 1, timeout=PATIENCE_MS)


def shoot(page: Page, path: Path, scheme: str = "light") -> None:
    page.mouse.move(1, 1)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.wait_for_timeout(150)
    page.screenshot(path=path)
    print(f"{path}  {path.stat().st_size / 1024:.0f} KiB")


def take_search(running: Browser, url: str) -> None:
    """Without a GPU the thousand sentences take minutes."""
    page = open_page(running, url, 1000, 760)
    page.locator("#query").fill("my kitchen tap is leaking", timeout=PATIENCE_MS)
    expect(page.locator("#size")).to_contain_text("sentences embedded in", timeout=10 * PATIENCE_MS)
    expect(page.locator("#timing")).to_contain_text(" 1000 vectors", timeout=PATIENCE_MS)
    shoot(page, HERE / "search.png")
    shoot(page, HERE / "search-dark.png", "dark")


def take_playground(running: Browser, url: str) -> None:
    page = running.new_page(viewport={"width": 1280, "height": 720}, device_scale_factor=1.25)
    page.goto(url)
    expect(page.locator("#composer")).to_be_visible(timeout=PATIENCE_MS)
    page.locator("#playground").click()
    for name in ("temperature", "top_p", "max_tokens"):
        page.locator(f"#play-{name}").fill({"temperature": "0", "max_tokens": "34"}.get(name, ""))
    show_sections(page, "Probabilities")
    page.locator("#play-logprobs").check()
    ask(page, "Describe Paris.")
    page.locator("#play-logprobs").uncheck()
    show_sections(page, "Form of the answer", "Prompt")
    page.locator("#play-format").select_option("json_schema")
    page.locator("#play-schema").fill(SCHEMA)
    ask(page, "Describe Paris as JSON.")
    page.locator(".token").nth(4).hover()
    page.wait_for_timeout(500)  # the panel looks at what is asked
    page.screenshot(path=HERE / "playground.png")


def take_picture(running: Browser, url: str) -> None:
    page = open_page(running, url, 1000, 620)
    wait_until_loaded(page)
    page.locator("#settings").click()
    page.locator("#max-tokens").fill("24")
    page.keyboard.press("Escape")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add a picture").click()
    file = {"name": "lake.png", "mimeType": "image/png", "buffer": bytes(page.evaluate(SCENE))}
    chooser.value.set_files([file])  # type: ignore[list-item]
    expect(page.get_by_role("list", name="Pictures of the next message").get_by_role("img")).to_be_visible()
    ask(page, "What is in this picture?")
    shoot(page, HERE / "picture.png")


def take_without_webgpu(running: Browser, url: str) -> None:
    page = open_page(running, url, 1000, 620)
    wait_until_loaded(page)
    ask(page, QUESTIONS[0])
    print("navigator.gpu:", page.evaluate("async () => String(await navigator.gpu?.requestAdapter())"))
    shoot(page, HERE / "without-webgpu.png")


def show_sections(page: Page, *titles: str) -> None:
    """Opens sections of the panel, and closes the others."""
    page.evaluate(
        "titles => { for (const each of document.querySelectorAll('#panel details'))"
        " each.open = titles.includes(each.querySelector('h3').textContent); }",
        list(titles),
    )


def take_all(running: Browser, url: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    page = running.new_page(viewport={"width": 1200, "height": 800})
    page.goto(url)
    page.wait_for_function("() => document.querySelector('#bar').value > 0.05", timeout=PATIENCE_MS)
    shoot(page, out / "loading.png")
    wait_until_loaded(page)
    shoot(page, out / "welcome.png")
    shoot(page, out / "welcome-dark.png", "dark")
    page.locator("#settings").click()
    shoot(page, out / "settings.png")
    page.keyboard.press("Escape")
    page.locator("#input").fill("Give me three tips for writing clearly.")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.message.assistant')?.textContent.length > 60")
    shoot(page, out / "answering.png")
    page.keyboard.press("Escape")
    expect(page.locator(".meta")).to_have_count(1, timeout=PATIENCE_MS)
    shoot(page, out / "stopped-dark.png", "dark")
    page.locator("#input").fill("long " * 6000)
    page.keyboard.press("Enter")
    expect(page.locator(".message.error")).to_be_visible(timeout=PATIENCE_MS)
    shoot(page, out / "too-long.png")
    shoot(page, out / "too-long-dark.png", "dark")
    page.set_viewport_size({"width": 390, "height": 780})
    shoot(page, out / "narrow.png")
    page.locator("#new").click()
    shoot(page, out / "narrow-welcome.png")
    page.goto(f"{url}?bundle=./nowhere/")
    expect(page.locator("#failure")).to_be_visible()
    shoot(page, out / "narrow-failure.png")
    page.set_viewport_size({"width": 1200, "height": 800})
    shoot(page, out / "failure-dark.png", "dark")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--all", type=Path, metavar="DIR")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--picture", action="store_true")
    parser.add_argument("--without-webgpu", action="store_true")
    args = parser.parse_args()
    flags = ("--headless=new", *WITHOUT_WEBGPU) if args.without_webgpu else FLAGS
    with serving(args.bundle) as server, browser(flags) as running:
        if args.without_webgpu:
            take_without_webgpu(running, server.url)
            return
        if args.search:
            take_search(running, server.url)
            return
        if args.picture:
            take_picture(running, server.url)
            return
        if args.all:
            take_all(running, server.url, args.all)
            return
        page = open_page(running, server.url)
        wait_until_loaded(page)
        for question in QUESTIONS:
            ask(page, question)
        shoot(page, HERE / "chat.png")
        shoot(page, HERE / "chat-dark.png", "dark")
        take_playground(running, server.url)


if __name__ == "__main__":
    main()

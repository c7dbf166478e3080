"""Opens an example's page, and presses what can be pressed until nothing more happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlcweb.browser.page import first_line
from tests.reports.compat.folder import Example
from tests.reports.compat.site import CompatSite

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

_QUIET_SECONDS = 2.5
_MOST_CLICKS = 12
# Text into what is empty, a choice where there is none, and the next button that was not pressed. Those that may
# delete come last.
_PRESS = """() => {
  const seen = (node) => node.getClientRects().length > 0 && !node.disabled;
  for (const field of document.querySelectorAll("textarea, input:not([type]), input[type=text]"))
    if (seen(field) && !field.value) {
      field.value = "Hi";
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
  for (const choice of document.querySelectorAll("select"))
    if (seen(choice) && !choice.value) {
      const option = [...choice.options].find((one) => !one.disabled && one.value);
      if (!option) continue;
      choice.value = option.value;
      choice.dispatchEvent(new Event("change", { bubbles: true }));
    }
  const buttons = [...document.querySelectorAll("button, input[type=button], input[type=submit]")]
    .filter((node) => !node.dataset.pressed);
  const late = ({ textContent, value, id }) =>
    /delete|clear|reset|stop|unload/i.test(`${textContent} ${value} ${id}`) ? 1 : 0;
  const next = buttons.filter(seen).sort((a, b) => late(a) - late(b))[0];
  if (!next) return buttons.length > 0 ? "waits" : "none";
  next.dataset.pressed = "yes";
  next.click();
  return "pressed";
}"""


def run_example(context: BrowserContext, site: CompatSite, example: Example, seconds: float) -> None:
    """Fills in ``runs`` and ``error``."""
    site.example = example
    site.said.clear()
    errors: list[str] = []
    page = context.new_page()
    try:
        _listen(page, errors)
        page_file = min(
            example.pages, key=lambda path: (not _has_built(path, example), len(path.parts), path)
        )
        page.goto(
            site.url + page_file.relative_to(example.folder).as_posix(), wait_until="load", timeout=30_000
        )
        timed_out = _until_quiet(page, site, errors, seconds)
    except Exception as error:
        errors.append(first_line(error))
        timed_out = False
    finally:
        page.close()
    said = site.said
    example.error = errors[0] if errors else ""
    if errors:
        example.runs = "stops"
    elif said["answered"] or said["generated"]:
        example.runs = "runs"
    elif said["ready"]:
        example.runs = "loads"
    else:
        example.runs = "stops"
        example.error = "it loads no model"
    if timed_out and example.runs != "stops":
        example.runs, example.error = "stops", f"it was not done after {seconds:.0f} s"


def _has_built(page: Path, example: Example) -> bool:
    text = page.read_text(encoding="utf-8", errors="replace")
    return any(script.name in text for script in example.built)


def _listen(page: Page, errors: list[str]) -> None:
    page.on("pageerror", lambda error: errors.append(f"uncaught: {first_line(str(error))}"))
    page.on(
        "console", lambda said: errors.append(said.text.strip()) if _counts(said.type, said.text) else None
    )
    page.on("dialog", lambda dialog: dialog.accept())


def _counts(kind: str, text: str) -> bool:
    """An error that the example or the engine logs, and not the browser's note that a picture is missing."""
    return kind == "error" and "Failed to load resource" not in text


def _until_quiet(page: Page, site: CompatSite, errors: list[str], seconds: float) -> bool:
    """Returns whether the time was up first."""
    end = time.monotonic() + seconds
    busy = _activity(site)
    last, clicks = time.monotonic(), 0
    while time.monotonic() < end:
        page.wait_for_timeout(250)
        if errors:
            return False
        now = busy()
        if now:
            last = time.monotonic()
        elif time.monotonic() - last > _QUIET_SECONDS:
            pressed = page.evaluate(_PRESS) if clicks < _MOST_CLICKS else "none"
            if pressed != "pressed":
                return False
            clicks += 1
            last = time.monotonic()
    return True


def _activity(site: CompatSite) -> Callable[[], bool]:
    """Whether a load or an answer is under way, or something was said since the last look."""
    before = 0

    def look() -> bool:
        nonlocal before
        said = site.said
        total = sum(said.values())
        changed, before = total != before, total
        return changed or said["loading"] > said["loaded"] or said["asked"] > said["answered"]

    return look


def answer_hub(context: BrowserContext, site: CompatSite) -> None:
    """What asks the hub, or any other server, for a file gets the model's, or nothing."""

    def answer(route: Route) -> None:
        url = route.request.url
        if url.startswith(site.url) or url.startswith(("blob:", "data:", "chrome")):
            route.fallback()
            return
        file = site.of_model(url.split("?")[0])
        if file is None:
            route.abort()
        else:
            route.fulfill(body=file.read_bytes(), headers={"Access-Control-Allow-Origin": "*"})

    context.route("**/*", answer)

"""Asks Chromium what its WebGPU offers, through the engine's own ``probe()`` where the engine is built."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlcweb.browser.page import Page, open_page
from mlcweb.contract.constants import TIERS
from mlcweb.errors import BrowserError
from mlcweb.serve.server import ENGINE

LIMITS = (
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxStorageBuffersPerShaderStage",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupsPerDimension",
    "minUniformBufferOffsetAlignment",
)
URL = "http://localhost/mlcweb-blank"  # answered by playwright: WebGPU needs an origin that counts as secure
ENGINE_URL = "http://localhost/mlcweb.js"
ASK_ENGINE = "async (url) => (await import(url)).probe()"
ASK_BROWSER = """async (limitNames) => {
  if (!navigator.gpu) return { reason: "navigator.gpu is missing" };
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) return { reason: "requestAdapter() found no adapter" };
  const info = adapter.info;
  return {
    vendor: info.vendor, architecture: info.architecture, device: info.device, description: info.description,
    fallback: Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter),
    subgroup_min: info.subgroupMinSize ?? 0, subgroup_max: info.subgroupMaxSize ?? 0,
    features: [...adapter.features].sort(),
    limits: Object.fromEntries(limitNames.map(name => [name, adapter.limits[name]])),
  };
}"""


@dataclass(frozen=True)
class Adapter:
    """A WebGPU adapter, as the page sees it."""

    browser: str
    vendor: str
    architecture: str
    device: str
    description: str
    fallback: bool
    subgroup_min: int
    subgroup_max: int
    features: list[str]
    limits: dict[str, int]
    software: bool
    """Whether the CPU does the work."""
    tiers: list[str]
    """The tiers it can run, best first."""

    @property
    def name(self) -> str:
        """One line for people."""
        words = [word for word in (self.vendor, self.architecture, self.device, self.description) if word]
        return " ".join(dict.fromkeys(words)) or "unnamed"

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "name": self.name}


def probe(chromium: Path | None = None, engine: Path = ENGINE) -> Adapter:
    """Start the browser and ask it, through the engine in the folder ``engine`` where that is built."""
    script = engine / "mlcweb.js"
    with open_page(chromium) as page:
        open_blank(page)
        if not script.is_file():
            return probe_page(page)
        body = script.read_text(encoding="utf-8")
        answer = {"status": 200, "content_type": "text/javascript", "body": body}
        page.context.route(ENGINE_URL, lambda route: route.fulfill(**answer))
        return from_report(page.version, page.evaluate(ASK_ENGINE, ENGINE_URL))


def from_report(browser: str, report: dict[str, Any]) -> Adapter:
    """The engine's ProbeReport (runtime-js/src/device/probe.ts) as an adapter; BrowserError where it found none."""
    if report["error"]:
        raise BrowserError(f"{browser}: {report['error']['message']}", hint=report["error"]["hint"])
    smallest, largest = report["subgroupSizes"] or (0, 0)
    return Adapter(
        browser=browser,
        **report["adapter"],
        subgroup_min=smallest,
        subgroup_max=largest,
        features=report["features"],
        limits={name: report["limits"][name] for name in LIMITS},
        tiers=report["tiers"],
    )


def open_blank(page: Page) -> None:
    """An empty page that has WebGPU, with no server behind it."""
    body = "<!doctype html><title>mlcweb</title>"
    page.context.route(URL, lambda route: route.fulfill(status=200, content_type="text/html", body=body))
    page.open(URL)


def probe_page(page: Page) -> Adapter:
    """Ask a page that is already open on localhost, without the engine."""
    answer = page.evaluate(ASK_BROWSER, list(LIMITS))
    if "reason" in answer:
        raise BrowserError(
            f"{page.version} offers no WebGPU here: {answer['reason']}",
            hint="update the browser, or pass it flags in MLCWEB_CHROMIUM_FLAGS",
        )
    names = [answer[key] for key in ("architecture", "device", "description")]
    software = is_software(names, answer["fallback"], answer["subgroup_min"])
    tiers = tiers_for(answer["features"], software)
    return Adapter(browser=page.version, software=software, tiers=tiers, **answer)


def is_software(names: list[str], fallback: bool, subgroup_min: int) -> bool:
    """Whether the CPU does the work, by the engine's rule: subgroups of 32 and more are no CPU's, whatever name
    it goes by.
    """
    name = " ".join(names).lower()
    named = any(renderer in name for renderer in ("swiftshader", "llvmpipe", "lavapipe"))
    return (named or fallback) and subgroup_min < 32


def tiers_for(features: list[str], software: bool) -> list[str]:
    """The tiers that these features admit, best first: those for CPUs are the first or the last."""
    order = sorted(TIERS, key=lambda tier: (2 * tier.cpu + tier.software) * (-1 if software else 1))
    return [tier.name for tier in order if set(tier.features) <= set(features)]

"""What Chromium's WebGPU offers here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlcweb.browser.page import Page, open_page
from mlcweb.errors import BrowserError

TIER_FEATURES = {
    "f16-subgroups": ("shader-f16", "subgroups"),
    "f16": ("shader-f16",),
    "subgroups": ("subgroups",),
    "base": (),
}
SOFTWARE_FEATURES = {"software": ("subgroups",)}
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
PROBE = """async (limitNames) => {
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
    limits: dict[str, int] = field(default_factory=dict)

    @property
    def software(self) -> bool:
        """Whether the CPU does the work, by the engine's rule: subgroups of 32 and more are no CPU's, whatever name
        it goes by.
        """
        name = f"{self.architecture} {self.device} {self.description}".lower()
        named = any(renderer in name for renderer in ("swiftshader", "llvmpipe", "lavapipe"))
        return (named or self.fallback) and self.subgroup_min < 32

    @property
    def tiers(self) -> list[str]:
        """The tiers it can run, best first: that for software adapters is the first or the last."""
        order = SOFTWARE_FEATURES | TIER_FEATURES if self.software else TIER_FEATURES | SOFTWARE_FEATURES
        return [tier for tier, needs in order.items() if set(needs) <= set(self.features)]

    @property
    def name(self) -> str:
        """One line for people."""
        words = [word for word in (self.vendor, self.architecture, self.device, self.description) if word]
        return " ".join(dict.fromkeys(words)) or "unnamed"

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "name": self.name, "software": self.software, "tiers": self.tiers}


def probe(chromium: Path | None = None) -> Adapter:
    """Start the browser and ask it."""
    with open_page(chromium) as page:
        open_blank(page)
        return probe_page(page)


def open_blank(page: Page) -> None:
    """An empty page that has WebGPU, with no server behind it."""
    body = "<!doctype html><title>mlcweb</title>"
    page.context.route(URL, lambda route: route.fulfill(status=200, content_type="text/html", body=body))
    page.open(URL)


def probe_page(page: Page) -> Adapter:
    """Ask a page that is already open on localhost."""
    found = page.evaluate(PROBE, list(LIMITS))
    if "reason" in found:
        raise BrowserError(
            f"{page.version} offers no WebGPU here: {found['reason']}",
            hint="update the browser, or pass it flags in MLCWEB_CHROMIUM_FLAGS",
        )
    return Adapter(browser=page.version, **found)

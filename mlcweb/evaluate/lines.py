"""Writes a bundle's quality as a line for people."""

from __future__ import annotations

from mlcweb.bundle.manifest import Quality, same_share


def quality_line(quality: Quality) -> str:
    """One line: same tokens, divergence and perplexities."""
    kl, p99 = quality.kl_micronats / 1e6, quality.kl_p99_micronats / 1e6
    perplexity, source = quality.perplexity_thousandths / 1e3, quality.source_perplexity_thousandths / 1e3
    return (
        f"{percent(same_share(quality))} of the source's most likely tokens, "
        f"KL {nats(kl)} nats a token (99 %: {nats(p99)}), "
        f"perplexity {perplexity:.4g} (source {source:.4g}), on {quality.tokens} tokens"
    )


def percent(value: float) -> str:
    """``65.4 %``."""
    return f"{100 * value:.1f} %"


def nats(value: float) -> str:
    """A divergence in three digits, as far as they tell something."""
    return f"{value:.3g}" if value >= 1e-5 else f"{value:.0e}" if value >= 1e-12 else "0"

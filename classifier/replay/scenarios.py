"""Worked examples: what a month of so many tokens costs on each model, and on a mix of two.

The token counts are those people plan with (one developer at 500 K a month, and 10 M). What a month costs hangs less on
their number than on how they are split, so each example is worked twice: as chat, and as an agent with a prompt cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pointsman.classifier.catalog import Catalog, Model
from pointsman.classifier.costs import PriceTier, tokens_of
from pointsman.classifier.labels import SCOPES
from pointsman.classifier.policy_file import Policy

MONTHLY_TOKENS: Final = (500_000, 10_000_000)
#: Of the turns of a month, those that earn the careful model: the middle of the 30 to 40 % that the article behind this
#: project reports ("Qwen3-Coder Has a 1M Token Context Window …", Towards AI 2026).
PREMIUM_SHARE: Final = 0.35
#: Of a request in a chat. ASSUMPTION: four tokens in for each one out, nothing cached.
CHAT_OUTPUT_SHARE: Final = 0.2
#: Size of one request, for the price tier; the middle of the article's "single-file refactor < 50 K". ASSUMPTION.
REQUEST_TOKENS: Final = 40_000


@dataclass(frozen=True, slots=True)
class Split:
    """How tokens are billed: shares that sum to 1."""

    name: str
    fresh: float
    read: float
    written: float
    output: float

    def price(self, tier: PriceTier) -> float:
        """Return USD per million tokens so split."""
        return (
            self.fresh * tier.input + self.read * tier.cache_read + self.written * tier.cache_write
        ) + self.output * tier.output


@dataclass(frozen=True, slots=True)
class Example:
    """One month: tokens, their split, and USD per model; `mixed_usd` is `premium_share` on the first careful model."""

    tokens: int
    split: Split
    usd: dict[str, float]
    premium: str
    cheap: str
    premium_share: float

    @property
    def mixed_usd(self) -> float:
        return self.premium_share * self.usd[self.premium] + (1 - self.premium_share) * self.usd[self.cheap]

    @property
    def saved_usd(self) -> float:
        """Less than with the careful model for everything."""
        return self.usd[self.premium] - self.mixed_usd


def chat() -> Split:
    """Return the split of questions and answers without a cache."""
    return Split("chat, nothing cached", 1 - CHAT_OUTPUT_SHARE, 0.0, 0.0, CHAT_OUTPUT_SHARE)


def agent(policy: Policy) -> Split:
    """Return the split of an agent's turn over several files, as the policy expects it at its first request."""
    read, written, output = tokens_of(REQUEST_TOKENS, 0, policy.loads[SCOPES.index("multi")])
    total = read + written + output
    return Split("agent with a prompt cache", 0.0, read / total, written / total, output / total)


def examples(catalog: Catalog, policy: Policy, *, premium_share: float = PREMIUM_SHARE) -> list[Example]:
    """Work every month out on the models the catalogue weighs.

    Parameters
    ----------
    catalog : Catalog
        Prices; the first careful and the first cheap model make the mix.
    policy : Policy
        Says how an agent's tokens are split.
    premium_share : float
        Of the tokens on the careful model, in [0, 1].
    """
    premium, cheap = catalog.roles["careful"][0], catalog.roles["cheap"][0]
    return [
        Example(tokens, split, _costs(catalog.weighed, split, tokens), premium, cheap, premium_share)
        for tokens in MONTHLY_TOKENS
        for split in (chat(), agent(policy))
    ]


def _costs(models: Sequence[Model], split: Split, tokens: int) -> dict[str, float]:
    return {model.name: tokens / 1e6 * split.price(model.prices(REQUEST_TOKENS)) for model in models}


def tokens_for(usd_a_month: float, model: Model, split: Split) -> float:
    """Return how many tokens a month cost this much; infinite where they cost nothing."""
    rate = split.price(model.prices(REQUEST_TOKENS))
    return usd_a_month / rate * 1e6 if rate else float("inf")


def scenarios_answer(found: Sequence[Example]) -> list[dict[str, Any]]:
    """Return examples as JSON values."""
    return [
        {
            "tokens_a_month": example.tokens,
            "split": {name: getattr(example.split, name) for name in Split.__slots__},
            "usd": example.usd,
            "premium": example.premium,
            "cheap": example.cheap,
            "premium_share": example.premium_share,
            "mixed_usd": example.mixed_usd,
            "saved_usd": example.saved_usd,
        }
        for example in found
    ]


def scenarios_text(found: Sequence[Example], catalog: Catalog) -> str:
    """Lay examples out for people."""
    first = found[0]
    names = list(first.usd)
    mixed = f"{first.premium_share:.0%} {first.premium}"
    width = max(len(name) for name in (*names, mixed)) + 2
    lines = [f"USD a month; catalogue {catalog.version}", "", f"{'tokens a month':<16}{'split':<28}"]
    lines[-1] += "".join(f"{name:>{width}}" for name in (*names, mixed)) + f"{'saved':>10}"
    for example in found:
        costs = "".join(f"{usd:>{width}.2f}" for usd in (*example.usd.values(), example.mixed_usd))
        lines.append(f"{example.tokens:<16}{example.split.name:<28}{costs}{example.saved_usd:>10.2f}")
    opus = catalog.by_name[first.premium]
    dear = [tokens_for(600_000 / 12 / 5, opus, example.split) / 1e6 for example in found[:2]]
    notes = [
        f"The mix sends the rest to {first.cheap}; its share is the middle of the article's 30 to 40 %, by tokens.",
        f"Chat: {CHAT_OUTPUT_SHARE:.0%} of the tokens are output (assumption). Agent: {_shares(found[1].split)}, as "
        "the policy expects of a turn over several files.",
        f"Price tiers are those of a request of {REQUEST_TOKENS} tokens.",
        *_on_qwen(catalog, first),
        f"Its 600 K USD a year for five engineers is 10 000 USD each a month: {dear[0]:,.0f} M tokens as chat, "
        f"{dear[1]:,.0f} M as an agent, on {first.premium} at these prices. 10 M tokens are far from it.",
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def _on_qwen(catalog: Catalog, first: Example) -> list[str]:
    qwen = catalog.by_name.get("qwen3-coder-plus")
    if qwen is None:
        return []
    by_tier = [first.tokens / 1e6 * first.split.price(tier) for tier in qwen.tiers]
    return [
        f"The article pays 4 to 8 USD for 500 K tokens on Qwen; as chat {qwen.name} takes {min(by_tier):.2f} to "
        f"{max(by_tier):.2f} USD for them, by the size of the requests."
    ]


def _shares(split: Split) -> str:
    return f"{split.read:.0%} read from the cache, {split.written:.0%} written to it, {split.output:.0%} output"

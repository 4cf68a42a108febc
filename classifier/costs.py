"""What the tokens of one turn cost on one model.

All pure. Prices are USD per million tokens; everything returned is USD. Which models exist is `catalog`'s business,
how often they fail `evidence`'s, which one to take `policy`'s.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PriceTier:
    """Prices of requests up to a size; the tier of a request's input prices all its tokens.

    Attributes
    ----------
    up_to : int or None
        Largest input in tokens this tier holds for; None for the last tier.
    input, output : float
        USD per million uncached input tokens, and per million output tokens.
    cache_read, cache_write : float
        USD per million input tokens read from, and newly written to, the prompt cache. A provider without
        published cache prices is billed at `input` for both.
    """

    up_to: int | None
    input: float
    output: float
    cache_read: float
    cache_write: float


@dataclass(frozen=True, slots=True)
class Load:
    """What one user turn is expected to send and receive, over all its tool-loop requests.

    Attributes
    ----------
    requests : float
        Requests of the turn, the first included.
    output_tokens : float
        Over all requests.
    growth_tokens : float
        Added to the context between the first request and the last.
    regrown_tokens : float
        Of the growth, what later requests read again.
    """

    requests: float
    output_tokens: float
    growth_tokens: float
    regrown_tokens: float

    @classmethod
    def of(cls, requests: float, output_tokens: float, growth_tokens: float) -> Load:
        """Derive the tokens read again: growth comes in equal steps, each read by the requests after its own."""
        return cls(requests, output_tokens, growth_tokens, growth_tokens * max(0.0, requests - 2) / 2)

    def scaled(self, requests: float, output_tokens: float, growth_tokens: float) -> Load:
        """Return the load of a turn that takes so many times each of these."""
        return Load.of(
            max(1.0, self.requests * requests), self.output_tokens * output_tokens, self.growth_tokens * growth_tokens
        )


def tokens_of(context_tokens: float, cached_tokens: float, load: Load) -> tuple[float, float, float]:
    """Return the tokens a whole user turn reads from the cache, writes to it, and puts out.

    The first request writes what the model has not cached and reads the rest; each later one reads the context
    so far and writes only what was added.

    Parameters
    ----------
    context_tokens, cached_tokens : float
        Tokens of the first request, and those of them this model's cache holds (at most as many).
    load : Load
        The turn's requests, output and growth.
    """
    read = cached_tokens + (load.requests - 1) * context_tokens + load.regrown_tokens
    return read, context_tokens - cached_tokens + load.growth_tokens, load.output_tokens


def price(tier: PriceTier, tokens: tuple[float, float, float]) -> float:
    """Price tokens that are read, written and put out, in USD; one tier prices the whole turn."""
    read, written, output = tokens
    return (read * tier.cache_read + written * tier.cache_write + output * tier.output) / 1e6


def turn_cost(tier: PriceTier, context_tokens: float, cached_tokens: float, load: Load) -> float:
    """Price a whole user turn on one model, in USD; `tier` is that of its middle, context plus half the growth."""
    return price(tier, tokens_of(context_tokens, cached_tokens, load))


def reread_cost(tier: PriceTier, tokens: float) -> float:
    """Price what a lost prompt cache adds: these tokens are written afresh instead of read, in USD."""
    return tokens * (tier.cache_write - tier.cache_read) / 1e6

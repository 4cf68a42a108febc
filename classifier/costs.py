"""The figures behind one candidate and the arithmetic on them: tokens, and the chance of failing.

All pure. Prices are USD per million tokens, as providers publish them; everything returned is USD or a probability.
Which models exist is `catalog`'s business, which one to take is `policy`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from .labels import CATEGORIES

#: Evidence and priors that hold for a model or family as a whole.
OVERALL: Final = "*"


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
class Evidence:
    """Trials behind a success rate.

    Attributes
    ----------
    category : str
        A label of the category head, or `*` for trials that tell about all of them.
    successes, trials : float
        Published rates over several runs make halves possible.
    weight : float
        How many trials of one's own one of these counts for, in [0, 1].
    """

    category: str
    successes: float
    trials: float
    weight: float
    source: str
    date: date


@dataclass(frozen=True, slots=True)
class Family:
    """Models of one make: what is believed of each before its own trials.

    Attributes
    ----------
    failure : mapping of str to float
        Prior P(fail) per category, and `*` overall.
    trials : float
        How many trials the prior counts for.
    evidence : tuple of Evidence
        Trials that tell about every member.
    """

    name: str
    failure: Mapping[str, float]
    trials: float
    source: str
    evidence: tuple[Evidence, ...] = ()


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

    @classmethod
    def expected(cls, loads: Iterable[Load], weights: Iterable[float]) -> Load:
        """Average loads by probability."""
        requests = output = growth = regrown = 0.0
        for load, weight in zip(loads, weights, strict=True):
            requests += weight * load.requests
            output += weight * load.output_tokens
            growth += weight * load.growth_tokens
            regrown += weight * load.regrown_tokens
        return cls(requests, output, growth, regrown)


def turn_cost(tier: PriceTier, context_tokens: float, cached_tokens: float, load: Load) -> float:
    """Price the tokens of a whole user turn on one model, in USD.

    The first request writes what the model has not cached and reads the rest; each later one reads the context
    so far and writes only what was added. One tier prices the whole turn.

    Parameters
    ----------
    tier : PriceTier
        That of the turn's middle, context plus half the growth.
    context_tokens, cached_tokens : float
        Tokens of the first request, and those of them this model's cache holds (at most as many).
    load : Load
        The turn's requests, output and growth.
    """
    read = cached_tokens + (load.requests - 1) * context_tokens + load.regrown_tokens
    written = context_tokens - cached_tokens + load.growth_tokens
    return (read * tier.cache_read + written * tier.cache_write + load.output_tokens * tier.output) / 1e6


def reread_cost(tier: PriceTier, tokens: float) -> float:
    """Price what a lost prompt cache adds: these tokens are written afresh instead of read, in USD."""
    return tokens * (tier.cache_write - tier.cache_read) / 1e6


def failure_rates(family: Family, evidence: Iterable[Evidence], back_off_trials: float) -> tuple[float, ...]:
    """Return P(fail) of one model per category, in label order.

    Four Beta posteriors, each the prior of the next: family overall, family by category, model overall, model by
    category. A category's prior keeps its distance, in log odds, from the overall rate it belongs to: a model
    that does better overall than its family is believed better everywhere, until its own trials in a category
    say otherwise.

    Parameters
    ----------
    family : Family
        The prior, and trials of the model's kin.
    evidence : iterable of Evidence
        The model's own.
    back_off_trials : float
        Trials the family's rate counts for beside the model's own; > 0.

    Returns
    -------
    tuple of float, length n_categories
        Each strictly between 0 and 1.
    """
    own = tuple(evidence)
    base = family.failure[OVERALL]
    family_overall = _posterior(base, family.trials, family.evidence, OVERALL)
    model_overall = _posterior(family_overall, back_off_trials, own, OVERALL)
    rates = []
    for category in CATEGORIES:
        prior = _shift(family.failure.get(category, base), base, family_overall)
        in_family = _posterior(prior, family.trials, family.evidence, category)
        in_model = _shift(in_family, family_overall, model_overall)
        rates.append(_posterior(in_model, back_off_trials, own, category))
    return tuple(rates)


def _posterior(failure: float, trials: float, evidence: Iterable[Evidence], category: str) -> float:
    """Mean of the Beta posterior after a prior of `failure` worth `trials` trials."""
    failures = failure * trials
    for row in evidence:
        if row.category == category:
            failures += (row.trials - row.successes) * row.weight
            trials += row.trials * row.weight
    return failures / trials


def _shift(rate: float, old: float, new: float) -> float:
    """Move a rate by the log odds between two others."""
    odds = rate / (1 - rate) * (new / (1 - new)) / (old / (1 - old))
    return odds / (1 + odds)


def after_corrections(failure: float, corrections: float, correction_trials: float, prior_trials: float) -> float:
    """Move P(fail) by the corrections a session has seen: each counts as so many failed trials."""
    if not corrections:
        return failure
    failed = corrections * correction_trials
    return (failure * prior_trials + failed) / (prior_trials + failed)

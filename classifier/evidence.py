"""How often a model fails: Beta posteriors per model and category, from published trials and from one's own outcomes.

    family overall -> family by category -> model overall -> model by category

Each is the prior of the next. A category keeps its distance, in log odds, from the overall rate it belongs to: a model
that does better overall than its family is believed better everywhere, until its own trials in a category say
otherwise. Everything here is pure; ages are told from a date that is given.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np

from .labels import CATEGORIES, SCOPES

#: Evidence and priors that hold for a model or family as a whole.
OVERALL: Final = "*"

# The grid of `Beta.interval`, in log odds: wide enough for a mean of 1e-6.
_LOG_ODDS: Final = np.linspace(-25.0, 25.0, 4_001)
_LOG_P: Final = -np.logaddexp(0.0, -_LOG_ODDS)
_LOG_Q: Final = -np.logaddexp(0.0, _LOG_ODDS)
_P: Final = np.exp(_LOG_P)


@dataclass(frozen=True, slots=True)
class Beta:
    """What is believed of one rate: its mean, and how many trials that belief counts for."""

    mean: float
    trials: float

    def after(self, failures: float, trials: float) -> Beta:
        """Return the posterior after these trials."""
        total = self.trials + trials
        return Beta((self.mean * self.trials + failures) / total, total) if trials else self

    def moved(self, old: float, new: float) -> Beta:
        """Move the mean by the log odds between two other rates; the trials stay."""
        return Beta(shift(self.mean, old, new), self.trials)

    def worth(self, trials: float) -> Beta:
        """Return the same mean as a prior of so many trials."""
        return Beta(self.mean, trials)

    def interval(self, share: float = 0.9) -> tuple[float, float]:
        """Return the central interval that holds this share of the belief.

        The density is summed over a grid of log odds, where it is smooth whatever the parameters are.
        """
        logs = self.mean * self.trials * _LOG_P + (1 - self.mean) * self.trials * _LOG_Q
        density = np.exp(logs - logs.max())
        cumulative = np.cumsum(density) - density / 2
        tails = np.interp([(1 - share) / 2, (1 + share) / 2], cumulative / cumulative[-1], _P)
        return float(tails[0]), float(tails[1])

    def draw(self, seed: str) -> float:
        """Draw a rate from the belief; the same one for the same seed."""
        # Not for secrets: a logged draw has to be made again.
        return random.Random(seed).betavariate(self.mean * self.trials, (1 - self.mean) * self.trials)  # noqa: S311


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
    scope_odds : tuple of float
        By how much the odds of failing change with the scope of the turn, in label order.
    """

    name: str
    failure: Mapping[str, float]
    trials: float
    source: str
    evidence: tuple[Evidence, ...] = ()
    scope_odds: tuple[float, ...] = (1.0,) * len(SCOPES)


@dataclass(frozen=True, slots=True)
class Tally:
    """One's own outcomes of one model in one category: weighed failures and trials, aged to one day."""

    failures: float = 0.0
    trials: float = 0.0

    def plus(self, failures: float, trials: float) -> Tally:
        """Return the sum."""
        return Tally(self.failures + failures, self.trials + trials)


#: Of one model, per category in label order.
Tallies = Sequence[Tally]


@dataclass(frozen=True, slots=True)
class Setting:
    """How evidence is weighed.

    Attributes
    ----------
    back_off_trials : float
        Trials the rate above counts for beside the model's own; > 0.
    half_life_days : float
        After so many days published evidence counts half.
    as_of : date
        The day ages are told from; evidence of a later day is taken as of that day.
    """

    back_off_trials: float
    half_life_days: float
    as_of: date

    def weight(self, row: Evidence) -> float:
        """Return what one trial of a row counts for today."""
        age = max(0, (self.as_of - row.date).days)
        return float(row.weight * 0.5 ** (age / self.half_life_days))


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of one model.

    Attributes
    ----------
    overall : Beta
    categories : tuple of Beta
        In label order, for turns of middling scope as the evidence has them.
    scope_odds : tuple of float
        As of the family.
    rates : tuple of float, length n_categories * n_scopes
        P(fail) by category, then scope: what the policy multiplies with.
    """

    overall: Beta
    categories: tuple[Beta, ...]
    scope_odds: tuple[float, ...] = (1.0,) * len(SCOPES)
    rates: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rates = tuple(with_odds(cell.mean, odds) for cell in self.categories for odds in self.scope_odds)
        object.__setattr__(self, "rates", rates)


def posterior_of(
    family: Family, evidence: Iterable[Evidence], setting: Setting, outcomes: Tallies | None = None
) -> Posterior:
    """Return what is believed of one model.

    Parameters
    ----------
    family : Family
        The prior, and trials of the model's kin.
    evidence : iterable of Evidence
        The model's own, published or counted by hand. A row of one category says nothing of the others: its tasks
        were picked.
    setting : Setting
        How it is weighed.
    outcomes : sequence of Tally, optional
        Own traffic, per category. It is a sample of what is asked, so it tells of the model as a whole, too: failures
        over those expected of these categories move the overall rate.
    """
    own = tuple(evidence)
    base = family.failure[OVERALL]
    family_overall = _after(Beta(base, family.trials), family.evidence, OVERALL, setting)
    overall = _after(family_overall.worth(setting.back_off_trials), own, OVERALL, setting)
    kin = []
    for category in CATEGORIES:
        prior = Beta(family.failure.get(category, base), family.trials).moved(base, family_overall.mean)
        kin.append(_after(prior, family.evidence, category, setting).worth(setting.back_off_trials))
    if outcomes is not None:
        overall = _with_outcomes(overall, family_overall.mean, kin, outcomes)
    cells = []
    for i, category in enumerate(CATEGORIES):
        cell = _after(kin[i].moved(family_overall.mean, overall.mean), own, category, setting)
        cells.append(cell if outcomes is None else cell.after(outcomes[i].failures, outcomes[i].trials))
    return Posterior(overall, tuple(cells), family.scope_odds)


def shift(rate: float, old: float, new: float) -> float:
    """Move a rate by the log odds between two others, each strictly between 0 and 1."""
    return with_odds(rate, new / (1 - new) * (1 - old) / old)


def with_odds(rate: float, factor: float) -> float:
    """Multiply the odds of a rate."""
    odds = rate / (1 - rate) * factor
    return odds / (1 + odds)


def after_corrections(failure: float, corrections: float, correction_trials: float, prior_trials: float) -> float:
    """Move P(fail) by the corrections a session has seen: each counts as so many failed trials."""
    if not corrections:
        return failure
    failed = corrections * correction_trials
    return (failure * prior_trials + failed) / (prior_trials + failed)


def _after(prior: Beta, evidence: Iterable[Evidence], category: str, setting: Setting) -> Beta:
    failures = trials = 0.0
    for row in evidence:
        if row.category == category:
            weight = setting.weight(row)
            failures += (row.trials - row.successes) * weight
            trials += row.trials * weight
    return prior.after(failures, trials)


def _with_outcomes(overall: Beta, family_mean: float, kin: Sequence[Beta], outcomes: Tallies) -> Beta:
    """Standardise: as many failures as these categories let expect leave the overall rate where it is."""
    trials = sum(tally.trials for tally in outcomes)
    if not trials:
        return overall
    expected = sum(
        tally.trials * shift(cell.mean, family_mean, overall.mean) for cell, tally in zip(kin, outcomes, strict=True)
    )
    failures = sum(tally.failures for tally in outcomes)
    # The observed rate, moved by the log odds between the expected rate and the overall one; half a trial keeps a
    # row of nothing but failures from being certainty.
    observed = (failures + 0.5 * expected / trials) / (trials + 0.5)
    standardised = shift(observed, expected / trials, overall.mean)
    return overall.after(standardised * trials, trials)

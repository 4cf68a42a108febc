"""The card that travels inside the bundle: what the model is, what it was measured on, what it cannot do."""

import re
from collections.abc import Iterable
from typing import Final

from pointsman.classifier.risk_bound import RiskBound

from .config import TrainConfig
from .evaluate import Report, render

#: Name of the card's row on risk bounds.
BOUNDS: Final = "risk bounds"
_MEASURED: Final = "## Measured"


def bounds_fact(bounds: Iterable[RiskBound]) -> str:
    """Say in one cell what the bundle promises: per share, the care probability up to which cheap models may answer."""
    said = [
        f"{bound.max_missed:.0%} "
        + (
            "cannot be promised"
            if bound.threshold is None
            else f"up to {bound.threshold:.3f} ({bound.cheap_share:.0%})"
        )
        for bound in bounds
    ]
    return f"missed share, care probability, share of turns left to cheap models: {'; '.join(said)}" if said else "none"


def with_bounds(card: str, bounds: Iterable[RiskBound]) -> str:
    """Return a card with its row on risk bounds replaced, or added before the licence."""
    row = f"| {BOUNDS} | {bounds_fact(bounds)} |\n"
    without = re.sub(rf"^\| {BOUNDS} \|.*\n", "", card, flags=re.MULTILINE)
    return without.replace("| licence |", f"{row}| licence |", 1)


def with_measured(card: str, report: Report) -> str:
    """Return a card with what it says under "Measured" replaced by another report."""
    said = f"{_MEASURED}\n\n{_measured(report)}\n\n## "
    return re.sub(rf"^{_MEASURED}\n.*?^## ", lambda _: said, card, count=1, flags=re.MULTILINE | re.DOTALL)


def model_card(config: TrainConfig, report: Report | None, facts: dict[str, str]) -> str:
    """Write the model card as Markdown."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"""# Model card: {config.version}

Reads one turn of a coding agent (the prompt, and up to four messages before it) and gives calibrated probabilities
for category, risk, scope and turn.

| fact | value |
|---|---|
{rows}

{_MEASURED}

{_measured(report)}

## Use and limits

- Made for routing requests of coding agents between models. Not a judgement of people, code quality or safety.
- The encoder's vocabulary is English word pieces. Words of the lexicon's languages are read as their English gloss;
  other languages work worse, scripts without word pieces worst.
- It reads at most {config.budget.prompt} tokens of the prompt (two thirds from its start, one third from its end) and
  {sum(config.budget.context)} of the messages before it. What stands only in files or tool results is not seen.
- High-risk turns are rare in the training data; the policy pays for doubt, the probabilities alone don't.
- The novelty score compares states in the middle of the encoder; a text can be foreign in meaning and still lie near
  the training data.
"""


def _measured(report: Report | None) -> str:
    if report is None:
        return "Not measured on held-out turns."
    return f"On turns of groups that neither training nor calibration saw.\n\n```\n{render(report)}\n```"

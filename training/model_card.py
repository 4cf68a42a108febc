"""The card that travels inside the bundle: what the model is, what it was measured on, what it cannot do."""

from .config import TrainConfig
from .evaluate import Report, render


def model_card(config: TrainConfig, report: Report | None, facts: dict[str, str]) -> str:
    """Write the model card as Markdown."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    measured = f"```\n{render(report)}\n```" if report is not None else "Not measured on held-out turns."
    return f"""# Model card: {config.version}

Reads one turn of a coding agent (the prompt, and up to four messages before it) and gives calibrated probabilities
for category, risk, scope and turn.

| fact | value |
|---|---|
{rows}

## Measured

On turns of groups that neither training nor calibration saw.

{measured}

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

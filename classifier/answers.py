"""Decisions and assessments as plain JSON values: the one form that HTTP, the command line and gateways share."""

from dataclasses import asdict
from typing import Any

from .assessment import Assessment, Decision, HeadResult
from .catalog import Model
from .evidence import OVERALL, Beta
from .labels import CATEGORIES, HEADS


def decision_answer(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON values; gateways that read with a regex need `model` first."""
    assessment = decision.assessment
    return {
        "model": decision.model,
        "provider": decision.provider,
        "effort": decision.effort,
        "fallbacks": decision.fallbacks,
        "decision_id": decision.decision_id,
        "kind": decision.kind.value,
        **(dict.fromkeys(HEADS) if assessment is None else _heads(assessment)),
        "novelty": None if assessment is None else assessment.novelty,
        "context_tokens": decision.context_tokens,
        "expected_cost": [
            {
                "model": cost.model,
                "total": cost.total,
                "tokens": cost.tokens,
                "switch": cost.switch,
                "failure": cost.failure,
                "effort": cost.effort,
                "cached": cost.cached,
                "failure_probability": cost.failure_probability,
            }
            for cost in decision.expected_cost
        ],
        "excluded": [exclusion._asdict() for exclusion in decision.excluded],
        "stakes": None if decision.stakes is None else decision.stakes._asdict(),
        "reasons": decision.reasons,
        "codes": decision.codes,
        "sticky": decision.sticky,
        "session_id": decision.session_id,
        "model_version": decision.model_version,
        "policy_version": decision.policy_version,
        "catalog_version": decision.catalog_version,
        "latency_ms": round(decision.latency_ms.get("total", 0.0), 3),
    }


def assessment_answer(assessment: Assessment) -> dict[str, Any]:
    """Return all heads of one assessment as JSON values."""
    return {**_heads(assessment), "novelty": assessment.novelty}


def model_answer(model: Model) -> dict[str, Any]:
    """Return one row of the catalogue as JSON values: figures, evidence, and what is believed per category."""
    row = asdict(model)
    del row["posterior"]
    cells = dict(zip(CATEGORIES, model.posterior.categories, strict=True))
    return row | {
        "capabilities": sorted(model.capabilities),
        "residency": sorted(model.residency),
        "failure": {category: cell.mean for category, cell in cells.items()},
        "belief": {name: _belief(cell) for name, cell in ({OVERALL: model.posterior.overall} | cells).items()},
    }


def _belief(cell: Beta) -> dict[str, float]:
    low, high = cell.interval()
    return {"failure": cell.mean, "low": low, "high": high, "trials": cell.trials}


def _heads(assessment: Assessment) -> dict[str, Any]:
    return {head: _head(getattr(assessment, head)) for head in HEADS}


def _head(result: HeadResult) -> dict[str, Any]:
    return {
        "label": result.label,
        "probability": result.probability,
        "probabilities": dict(zip(result.labels, result.probabilities, strict=True)),
    }

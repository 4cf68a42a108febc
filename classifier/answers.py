"""Decisions and assessments as plain JSON values: the one form that HTTP, the command line and gateways share."""

from typing import Any

from .assessment import Assessment, Decision, HeadResult
from .labels import HEADS


def decision_answer(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON values; gateways that read with a regex need `model` first."""
    assessment = decision.assessment
    return {
        "model": decision.model,
        "provider": decision.provider,
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
            }
            for cost in decision.expected_cost
        ],
        "reasons": decision.reasons,
        "sticky": decision.sticky,
        "session_id": decision.session_id,
        "model_version": decision.model_version,
        "policy_version": decision.policy_version,
        "latency_ms": round(decision.latency_ms.get("total", 0.0), 3),
    }


def assessment_answer(assessment: Assessment) -> dict[str, Any]:
    """Return all heads of one assessment as JSON values."""
    return {**_heads(assessment), "novelty": assessment.novelty}


def _heads(assessment: Assessment) -> dict[str, Any]:
    return {head: _head(getattr(assessment, head)) for head in HEADS}


def _head(result: HeadResult) -> dict[str, Any]:
    return {
        "label": result.label,
        "probability": result.probability,
        "probabilities": dict(zip(result.labels, result.probabilities, strict=True)),
    }

"""Labels that reviewers gave: one row per decision and reviewer, empty labels where a turn was skipped.

A label is a person's judgement of stored text. It goes when its decision goes.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from pointsman.serving.store import METADATA

REVIEWS: Final = sa.Table(
    "reviews",
    METADATA,
    sa.Column("decision_id", sa.Text, sa.ForeignKey("decisions.decision_id"), primary_key=True),
    sa.Column("reviewer", sa.Text, primary_key=True),
    sa.Column("created_at", sa.Text, nullable=False, index=True),
    sa.Column("category", sa.Text),
    sa.Column("risk", sa.Text),
    sa.Column("scope", sa.Text),
    sa.Column("turn", sa.Text),
)

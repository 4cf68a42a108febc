"""Labels that reviewers give, and what lists of decisions are found by."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_FOUND_BY = ("category", "risk", "model", "project")


def upgrade() -> None:
    op.create_table(
        "reviews",
        sa.Column("decision_id", sa.Text, nullable=False),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("category", sa.Text),
        sa.Column("risk", sa.Text),
        sa.Column("scope", sa.Text),
        sa.Column("turn", sa.Text),
        sa.PrimaryKeyConstraint("decision_id", "reviewer", name="pk_reviews"),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.decision_id"], name="fk_reviews_decision_id"),
    )
    op.create_index("ix_reviews_created_at", "reviews", ["created_at"])
    op.add_column("decisions", sa.Column("project", sa.Text))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("UPDATE decisions SET project = record->>'project' WHERE record->>'project' IS NOT NULL")
    else:
        op.execute("UPDATE decisions SET project = json_extract(record, '$.project')")
    for name in _FOUND_BY:
        op.create_index(f"ix_decisions_{name}", "decisions", [name, "created_at"])


def downgrade() -> None:
    for name in _FOUND_BY:
        op.drop_index(f"ix_decisions_{name}", "decisions")
    op.drop_column("decisions", "project")
    op.drop_table("reviews")

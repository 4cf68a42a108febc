"""The heads and their labels, in the order every array and every bundle uses.

The meaning of each label is in `data/labels.md`. Adding or moving a label changes the bundle format.
"""

from typing import Final, Literal

Head = Literal["category", "risk", "scope", "turn"]

CATEGORIES: Final = (
    "debugging",
    "migration",
    "security",
    "infrastructure",
    "refactoring",
    "feature",
    "scaffolding",
    "ui",
    "tests",
    "docs",
    "review",
    "analysis",
    "operation",
    "other",
)
RISKS: Final = ("low", "medium", "high")
SCOPES: Final = ("file", "multi", "repo")
TURNS: Final = ("new", "follow", "correct")

HEADS: Final[dict[Head, tuple[str, ...]]] = {
    "category": CATEGORIES,
    "risk": RISKS,
    "scope": SCOPES,
    "turn": TURNS,
}


#: Where even a medium risk needs care.
CAREFUL_CATEGORIES: Final = frozenset({"debugging", "migration", "security"})


def needs_care(category: str, risk: str, scope: str) -> bool:
    """Say whether a turn with these labels is one where a cheap model's near miss is expensive."""
    if risk == "high":
        return True
    return risk == "medium" and (category in CAREFUL_CATEGORIES or scope == "repo")

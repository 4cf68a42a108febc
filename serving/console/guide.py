"""The label guide as it stands beside the review queue: `data/labels.md` in short, and the key of each label."""

from typing import Final, NamedTuple

from pointsman.classifier.labels import CATEGORIES, RISKS, SCOPES, TURNS


class Choice(NamedTuple):
    """One label: the key that chooses it, and what it means."""

    label: str
    key: str
    meaning: str


_CATEGORY: Final = {
    "debugging": ("d", "to find or fix something that goes wrong"),
    "migration": ("m", "to move existing code or data from A to B"),
    "security": ("s", "to protect, or to judge protection"),
    "infrastructure": ("i", "to run, ship or configure systems"),
    "refactoring": ("r", "the same behaviour in better code"),
    "feature": ("f", "new or changed behaviour in an existing code base"),
    "scaffolding": ("c", "something new from a known pattern"),
    "ui": ("u", "how an interface looks or is laid out"),
    "tests": ("t", "tests"),
    "docs": ("o", "words about code"),
    "review": ("v", "a judgement of given code or a diff"),
    "analysis": ("a", "to understand, decide or plan, with no change made now"),
    "operation": ("p", "an action carried out as told"),
    "other": ("x", "nothing of software work"),
}
_RISK: Final = {
    "low": ("1", "cheap to see and to redo"),
    "medium": ("2", "wrong behaviour in an existing code base that a review, a test or a rollback would catch"),
    "high": ("3", "hard or impossible to undo, reaches production or live users, or is silently wrong"),
}
_SCOPE: Final = {
    "file": ("4", "one snippet, function or file is enough"),
    "multi": ("5", "several files must be read or must change together"),
    "repo": ("6", "the whole code base, or a large part of it"),
}
_TURN: Final = {
    "new": ("7", "starts a task"),
    "follow": ("8", "goes on with the same task"),
    "correct": ("9", "says that the assistant's last answer failed"),
}
_ASKED: Final = {
    "category": "The person wants",
    "risk": "What a close-but-wrong answer costs",
    "scope": "How much code must be held in view",
    "turn": "How it relates to what came before",
}


def guide() -> dict[str, tuple[str, list[Choice]]]:
    """Return, per head, its question and its choices in label order."""
    heads = {
        "category": (CATEGORIES, _CATEGORY),
        "risk": (RISKS, _RISK),
        "scope": (SCOPES, _SCOPE),
        "turn": (TURNS, _TURN),
    }
    return {
        head: (_ASKED[head], [Choice(label, *known[label]) for label in labels])
        for head, (labels, known) in heads.items()
    }

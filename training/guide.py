"""The label guide, `data/labels.md`: what people read while they label, and what language models are told."""

from pathlib import Path
from typing import Final

from pointsman.classifier.labels import HEADS, Head

#: A link to `data/labels.md`; a built package holds the text itself.
GUIDE: Final = Path(__file__).with_name("guide.md")


def read_guide() -> str:
    """Return the whole guide, as Markdown."""
    return GUIDE.read_text(encoding="utf-8")


def section_of(head: Head) -> str:
    """Return the part of the guide about one head."""
    for section in read_guide().split("\n## "):
        if section.startswith(head):
            return f"## {section}".strip()
    msg = f"{GUIDE.name} has no section '{head}'; expected one for each of {', '.join(HEADS)}."
    raise ValueError(msg)

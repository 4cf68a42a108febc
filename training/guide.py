"""The label guide, `data/labels.md`: what people read while they label, and what language models are told."""

from collections.abc import Iterator
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


def as_list(section: str) -> str:
    """Turn the tables of a section into lists, which stay legible in a narrow column.

    A row becomes an item: the first cell, then the others, each with the head of its column unless that is the first
    or second; empty cells are left out.
    """
    return "\n".join(_listed(section.splitlines()))


def _listed(lines: list[str]) -> Iterator[str]:
    columns: list[str] = []
    for line in lines:
        if not line.startswith("|"):
            columns = []
            yield line
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not columns:
            columns = cells
            yield ""
        elif cells[0].strip("-"):
            named = zip(columns[2:], cells[2:], strict=True)
            more = "".join(f". *{column}*: {cell}" for column, cell in named if cell)
            yield f"- **{cells[0]}**: {cells[1]}{more}"

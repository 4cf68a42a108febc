"""`pointsman labels`."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .label_sources import Assess, HeadReport, Labels, Summary


class LabelsCommand:
    """Gather the labels of imported turns and combine them. Needs the training extra."""

    help = "gather the labels of imported turns, explicit and implicit, with their sources and certainty"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "turns",
            nargs="+",
            metavar="TURNS.jsonl|URL",
            help="turns as `import` writes them, or a store of the service with what was reviewed in the console",
        )
        parser.add_argument(
            "--labels",
            nargs="+",
            type=Path,
            default=[],
            metavar="FILE",
            help="labels by id: JSON lines (as `label` and `autolabel` write them), CSV or TSV",
        )
        parser.add_argument("--output", type=Path, metavar="FILE.jsonl", help="labelled turns to write, for `train`")
        parser.add_argument(
            "--partial", action="store_true", help="also write turns that lack heads, or have an outcome only"
        )
        parser.add_argument(
            "--bundle",
            type=Path,
            nargs="?",
            const=Path(),
            metavar="FOLDER",
            help="let a bundle (without FOLDER: the one that ships) have a say in turns that somebody labelled",
        )
        parser.add_argument("--json", action="store_true", help="print the summary as JSON")

    def run(self, args: argparse.Namespace) -> int:
        from .label_sources import gather, read_rows

        assess = None if args.bundle is None else _assess_with(args.bundle if args.bundle.parts else None)
        labels = gather(read_rows(args.turns), args.labels, assess=assess)
        if args.output is not None:
            _write(args.output, args.turns, labels, partial=args.partial)
        if args.json:
            print(json.dumps(asdict(labels.summary), indent=2))
        else:
            print(summary_text(labels.summary))
        return 0


def _assess_with(bundle: Path | None) -> "Assess":
    from pointsman.classifier.assessment import Message
    from pointsman.classifier.assessor import Assessor
    from pointsman.classifier.labels import HEADS
    from pointsman.classifier.text import text_of

    assessor = Assessor.load(bundle)

    def assess(row: Mapping[str, Any]) -> dict[str, str]:
        if not row.get("prompt"):
            return {}
        context = tuple(Message(str(m["role"]), str(m["text"])) for m in row.get("context") or ())
        [found] = assessor.assess_texts([text_of(row["prompt"], context)])
        return {head: getattr(found, head).label for head in HEADS}

    return assess


def _write(path: Path, turns: list[str], labels: "Labels", *, partial: bool) -> None:
    from pointsman.classifier.labels import HEADS

    from .label_sources import labelled_row, read_rows

    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.partial")
    with draft.open("w", encoding="utf-8") as file:
        for row in read_rows(turns):
            found = labels.by_id.get(str(row.get("id")), {})
            if found and (partial or (all(head in found for head in HEADS) and row.get("prompt"))):
                file.write(json.dumps(labelled_row(row, found), ensure_ascii=False) + "\n")
    draft.replace(path)


def summary_text(summary: "Summary") -> str:
    """Say what was gathered, source by source."""
    lines = [
        f"{summary.n_turns} turns, {summary.n_labelled} labelled by somebody, "
        f"{summary.n_complete} of all turns with all four labels"
    ]
    if summary.n_unknown_ids:
        lines.append(f"{summary.n_unknown_ids} labelled ids belong to no turn in these files")
    for name, head in summary.heads.items():
        if head.sources:
            lines += _head_text(name, head)
    lines.append("accuracy is estimated from the votes; with fewer than three sources it is mostly the prior")
    return "\n".join(lines)


def _head_text(name: str, head: "HeadReport") -> list[str]:
    common = sorted(head.labels.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{label} {n}" for label, n in common)
    lines = ["", f"{name}: {head.n_labelled} turns, mean certainty {head.certainty:.2f} ({shown})"]
    lines.append(f"  {'source':<24}{'votes':>8}{'coverage':>10}{'accuracy':>10}")
    lines += [f"  {s.name:<24}{s.n_votes:>8}{s.coverage:>10.1%}{s.accuracy:>10.2f}" for s in head.sources]
    if head.people.n_pairs:
        beyond = head.people.beyond_chance
        told = "" if beyond is None else f", {beyond:.2f} beyond chance (Scott's pi)"
        lines.append(
            f"  people agree on {head.people.share:.0%} of {head.people.n_turns} turns that several labelled{told}"
        )
    return lines

"""`pointsman drift`."""

import argparse
from pathlib import Path

from pointsman.classifier.drift import Thresholds

_DEFAULTS = Thresholds()


class DriftCommand:
    """Compare recent turns with earlier ones. Needs the training extra."""

    help = "say whether recent turns still look like those before: inputs, predictions, outcomes, by day"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "turns",
            nargs="+",
            metavar="SOURCE",
            help="turns as `import` writes them, labelled turns, or the URL of a record store",
        )
        parser.add_argument(
            "--reference", nargs="+", metavar="SOURCE", help="compare with these, not with the days before"
        )
        parser.add_argument("--recent-days", type=int, default=7, metavar="N", help="days to judge (default: 7)")
        parser.add_argument("--reference-days", type=int, default=28, metavar="N", help="days before (default: 28)")
        parser.add_argument(
            "--bundle",
            type=Path,
            nargs="?",
            const=Path(),
            metavar="FOLDER",
            help="read the text anew with a bundle (without FOLDER: the one that ships): adds the embedding's drift",
        )
        parser.add_argument("--watch", type=float, default=_DEFAULTS.watch, help="worth a look (default: %(default)s)")
        parser.add_argument("--alert", type=float, default=_DEFAULTS.alert, help="an alert (default: %(default)s)")
        parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the report as Markdown")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON")
        parser.add_argument("--fail", action="store_true", help="exit with 1 when there is an alert")

    def run(self, args: argparse.Namespace) -> int:
        from pointsman.classifier.assessor import Assessor

        from .drift_report import drift_report, read_turns, report_json, report_markdown

        assessor = None
        if args.bundle is not None:
            assessor = Assessor.load(args.bundle if args.bundle.parts else None)
        report = drift_report(
            read_turns(args.turns, assessor),
            None if args.reference is None else read_turns(args.reference, assessor),
            recent_days=args.recent_days,
            reference_days=args.reference_days,
            thresholds=Thresholds(watch=args.watch, alert=args.alert),
        )
        text = report_markdown(report)
        for path, content in ((args.output, text), (args.json, report_json(report))):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
        if args.output is None:
            print(text, end="")
        return 1 if args.fail and report.alerts else 0

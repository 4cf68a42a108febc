"""`pointsman label`."""

import argparse
import getpass
import sys
from pathlib import Path


class LabelCommand:
    """Label turns in the terminal. Needs the training extra."""

    help = "label imported turns in the terminal, those first whose labels would change decisions most"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "turns",
            nargs="+",
            metavar="TURNS.jsonl|URL",
            help="turns as `import` writes them, or a store of the service",
        )
        parser.add_argument(
            "--output", type=Path, required=True, metavar="LABELS.jsonl", help="labels by id; a session goes on from it"
        )
        parser.add_argument("--by", help="your name, kept with each label (default: the user's)")
        parser.add_argument("--limit", type=int, default=100, help="turns in the queue (default: %(default)s)")
        parser.add_argument(
            "--pool", type=int, default=2000, help="turns to choose them from, a fixed sample (default: %(default)s)"
        )
        parser.add_argument("--bundle", type=Path, help="bundle that guesses (default: the one that ships)")
        parser.add_argument("--catalog", help="catalogue file or profile name (default: anthropic-dashscope)")
        parser.add_argument("--policy", help="policy preset or file (default: balanced)")

    def run(self, args: argparse.Namespace) -> int:
        try:
            from .label_app import LabelApp
        except ModuleNotFoundError as error:
            found = f"labelling needs {error.name}, which is not installed. Run: pip install 'pointsman[training]'."
            print(found, file=sys.stderr)
            return 2
        from pointsman.classifier.assessor import Assessor
        from pointsman.classifier.catalog import Catalog
        from pointsman.classifier.policy_file import Policy
        from pointsman.classifier.router import DEFAULT_CATALOG, DEFAULT_POLICY

        from .label_sources import read_rows
        from .labelling import Labelling, queue_of

        by = f"person:{args.by or getpass.getuser()}"
        items = queue_of(
            read_rows(args.turns),
            [args.output],
            Assessor.load(args.bundle),
            Catalog.load(args.catalog or DEFAULT_CATALOG),
            Policy.load(args.policy or DEFAULT_POLICY),
            by=by,
            limit=args.limit,
            pool=args.pool,
            shows_progress=sys.stderr.isatty(),
        )
        if not items:
            print("no turn with text is left to label", file=sys.stderr)
            return 1
        n_labelled = LabelApp(Labelling(items, args.output, by)).run() or 0
        print(f"{n_labelled} turns labelled in this session, in {args.output}")
        return 0

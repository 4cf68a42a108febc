"""Labelled files as a source of `pointsman replay` and `pointsman tune`: read here, assessed with a bundle."""

import argparse
from pathlib import Path

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.policy_file import Policy
from pointsman.classifier.replay.case import Log
from pointsman.classifier.replay.workload import LabelledTurn, Workload, labelled_cases
from pointsman.classifier.risk_bound import promises_of

_DEFAULTS = Workload()


class LabelledTurns:
    """Reads `--data`; needs the base install only."""

    option = "--data"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("labelled turns")
        group.add_argument(
            "--data", type=Path, nargs="+", metavar="FILE.jsonl", help="labelled turns, in session order"
        )
        group.add_argument("--bundle", type=Path, help="bundle that assesses them (default: the one that ships)")
        group.add_argument("--threads", type=int, default=1, help="threads for inference (default: 1)")
        group.add_argument(
            "--start-tokens",
            type=int,
            default=_DEFAULTS.start_tokens,
            metavar="N",
            help="assumed size of a session's first request (default: %(default)s)",
        )
        group.add_argument(
            "--pause",
            type=float,
            default=_DEFAULTS.pause_s,
            metavar="SECONDS",
            help="assumed time between the turns of a session (default: %(default)s)",
        )

    def is_asked(self, args: argparse.Namespace) -> bool:
        return bool(args.data)

    def read(self, args: argparse.Namespace, catalog: Catalog, policy: Policy) -> Log:
        from pointsman.classifier.assessor import Assessor

        from .datasets import read_examples
        from .evaluate import assess_examples

        examples = read_examples(args.data)
        assessor = Assessor.load(args.bundle, n_threads=args.threads)
        assessments = assess_examples(assessor, examples)
        turns = [
            LabelledTurn(
                example.id,
                example.group,
                example.position,
                example.prompt,
                example.context,
                example.labels,
                assessment,
            )
            for example, assessment in zip(examples, assessments, strict=True)
        ]
        workload = Workload(start_tokens=args.start_tokens, pause_s=args.pause)
        cases = labelled_cases(turns, policy, workload, promises=promises_of(assessor.risk_bounds))
        n_sessions = len({case.turn.session_id for case in cases})
        files = ", ".join(path.name for path in args.data)
        about = f"{len(cases)} labelled turns in {n_sessions} sessions of {files}, assessed by {assessor.version}"
        return Log(cases, about, workload.describe(), labelled=True)

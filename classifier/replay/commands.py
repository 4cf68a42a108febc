"""`pointsman replay`, `pointsman tune` and `pointsman savings`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import ClassifierError
from pointsman.classifier.policy_file import Policy, policy_names
from pointsman.classifier.router import DEFAULT_CATALOG, DEFAULT_POLICY

from .case import turns_a_month
from .comparison import compare, comparison_answer, comparison_text
from .proposal import policy_diff, policy_text, tuning_answer, tuning_text
from .savings import savings_answer, savings_of, savings_text
from .scenarios import PREMIUM_SHARE, examples, scenarios_answer, scenarios_text
from .sources import Source, add_source_arguments, read_log
from .tune import Target, tune

_PRESETS = ", ".join(policy_names())


class ReplayCommand:
    """Decide turns again under other policies."""

    help = "decide logged or labelled turns again under other policies: cost, premium share, what was missed"

    def __init__(self) -> None:
        self._sources: tuple[Source, ...] = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--policy", nargs="+", required=True, metavar="POLICY", help=f"policies to try: files, or {_PRESETS}"
        )
        parser.add_argument(
            "--against",
            default=DEFAULT_POLICY,
            metavar="POLICY",
            help="the present policy, whose losses and loads price all of them (default: %(default)s)",
        )
        parser.add_argument("--catalog", default=DEFAULT_CATALOG, help="catalogue file or profile name")
        parser.add_argument(
            "--changes", type=int, default=10, metavar="N", help="changed turns to show of each policy (default: 10)"
        )
        parser.add_argument("--json", action="store_true", help="print JSON, with all changed turns")
        self._sources = add_source_arguments(parser)

    def run(self, args: argparse.Namespace) -> int:
        if args.changes < 0:
            raise ClassifierError(f"--changes {args.changes}: expected 0 or more.")
        catalog = Catalog.load(args.catalog)
        policies = [Policy.load(args.against)]
        policies += [policy for policy in map(Policy.load, args.policy) if policy != policies[0]]
        for policy in policies:
            policy.check(catalog)
        log = read_log(self._sources, args, catalog, policies[0])
        comparison = compare(log, catalog, policies)
        if args.json:
            print(json.dumps(comparison_answer(comparison), indent=2))
        else:
            print(comparison_text(comparison, n_changes=args.changes))
        return 0


class TuneCommand:
    """Search losses for a target."""

    help = "propose what a miss should cost, for a share of turns that may be missed or for a budget"

    def __init__(self) -> None:
        self._sources: tuple[Source, ...] = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument(
            "--max-missed", type=float, metavar="SHARE", help="of turns needing care, and of high risk, on cheap models"
        )
        target.add_argument("--budget", type=float, metavar="USD", help="for the tokens of a month")
        parser.add_argument(
            "--turns-a-month",
            type=float,
            metavar="N",
            help="turns the budget is for (default: the rate of the records, or as many as there are labelled turns)",
        )
        parser.add_argument(
            "--policy",
            default=DEFAULT_POLICY,
            metavar="POLICY",
            help="the present policy, file or preset (default: %(default)s)",
        )
        parser.add_argument("--catalog", default=DEFAULT_CATALOG, help="catalogue file or profile name")
        parser.add_argument("--output", type=Path, metavar="FILE.yaml", help="write the proposed policy there")
        parser.add_argument("--json", action="store_true", help="print JSON")
        self._sources = add_source_arguments(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Return 0 when a setting was found, 1 when none meets the target."""
        if args.output is not None and args.output.exists():
            raise ClassifierError(f"{args.output}: the file is there already; expected a new one. Name another.")
        # A target that makes no sense is said before the turns are read, which takes longer.
        Target(args.max_missed, args.budget, args.turns_a_month or 1.0)
        catalog, policy = Catalog.load(args.catalog), Policy.load(args.policy)
        policy.check(catalog)
        log = read_log(self._sources, args, catalog, policy)
        month = args.turns_a_month or turns_a_month(log)
        tuning = tune(log, catalog, policy, Target(args.max_missed, args.budget, month))
        path = args.output or Path("proposed.yaml")
        diff = policy_diff(tuning, path) if tuning.chosen is not None else ""
        text = None
        if tuning.chosen is not None:
            day = datetime.now(UTC).date().isoformat()
            text = policy_text(tuning, path, command=_command(args), day=day)
        if args.json:
            print(json.dumps(tuning_answer(tuning) | {"file": text, "diff": diff}, indent=2))
        else:
            print("\n".join(part for part in (tuning_text(tuning), diff and f"\n{diff.rstrip()}") if part))
        if text is None:
            return 1
        if args.output is not None:
            args.output.write_text(text, encoding="utf-8")
            print(f"written: {args.output}", file=sys.stderr)
        return 0


def _command(args: argparse.Namespace) -> str:
    """Return the call without its source: a database's address does not belong in a file."""
    aim = f"--max-missed {args.max_missed:g}" if args.max_missed is not None else f"--budget {args.budget:g}"
    return f"pointsman tune {aim} --policy {shlex.quote(Path(args.policy).name)}"


class SavingsCommand:
    """Say what was spent, and what one model for everything would have cost."""

    help = "print what recorded turns cost against the careful or the cheap model for everything, by day and category"

    def __init__(self) -> None:
        self._sources: tuple[Source, ...] = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--scenarios",
            action="store_true",
            help="work out months of 500 K and 10 M tokens instead; no records needed",
        )
        parser.add_argument(
            "--premium-share",
            type=float,
            default=PREMIUM_SHARE,
            metavar="SHARE",
            help="of the scenarios' tokens on the careful model (default: %(default)s)",
        )
        parser.add_argument(
            "--policy",
            default=DEFAULT_POLICY,
            metavar="POLICY",
            help="policy whose losses and loads price turns, file or preset (default: %(default)s)",
        )
        parser.add_argument("--catalog", default=DEFAULT_CATALOG, help="catalogue file or profile name")
        parser.add_argument("--json", action="store_true", help="print JSON")
        self._sources = add_source_arguments(parser, only="--records")

    def run(self, args: argparse.Namespace) -> int:
        catalog, policy = Catalog.load(args.catalog), Policy.load(args.policy)
        if args.scenarios:
            if not 0 <= args.premium_share <= 1:
                raise ClassifierError(f"--premium-share {args.premium_share:g}: expected a share from 0 to 1.")
            found = examples(catalog, policy, premium_share=args.premium_share)
            print(json.dumps(scenarios_answer(found), indent=2) if args.json else scenarios_text(found, catalog))
            return 0
        savings = savings_of(read_log(self._sources, args, catalog, policy), catalog, policy)
        print(json.dumps(savings_answer(savings), indent=2) if args.json else savings_text(savings))
        return 0

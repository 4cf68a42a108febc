"""`pointsman replay`."""

from __future__ import annotations

import argparse
import json

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import ClassifierError
from pointsman.classifier.policy_file import Policy, policy_names
from pointsman.classifier.router import DEFAULT_CATALOG, DEFAULT_POLICY

from .comparison import compare, comparison_answer, comparison_text
from .sources import Source, add_source_arguments, read_log

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

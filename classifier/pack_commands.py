"""`pointsman pack` writes what a runtime in another language needs to decide in its own process."""

import argparse
from pathlib import Path


class PackCommand:
    """Writes a routing pack."""

    help = "write bundle, catalogue and policy as one folder for in-process use from JavaScript"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--bundle", type=Path, help="bundle folder (default: the one that ships)")
        parser.add_argument("--catalog", help="catalogue file or profile name (default: anthropic-dashscope)")
        parser.add_argument("--policy", help="policy file or preset: frugal, balanced, careful (default: balanced)")
        parser.add_argument("--output", type=Path, required=True, help="folder to write to")

    def run(self, args: argparse.Namespace) -> int:
        """Write the folder; an earlier pack there is replaced."""
        from .catalog import Catalog
        from .pack import write_pack
        from .policy_file import Policy
        from .router import DEFAULT_CATALOG, DEFAULT_POLICY

        catalog = Catalog.load(args.catalog or DEFAULT_CATALOG)
        policy = Policy.load(args.policy or DEFAULT_POLICY)
        write_pack(args.output, catalog, policy, args.bundle)
        print(f"wrote {args.output}: {len(catalog.models)} models, policy {policy.version}")
        return 0

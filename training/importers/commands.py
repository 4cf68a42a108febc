"""`pointsman import`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Summary

KINDS = ("claude-code", "codex", "opencode", "records", "litellm", "labelled", "specstory", "aider")


class ImportCommand:
    """Turn logs of coding agents into turns to learn from. Needs the training extra."""

    help = "turn session logs of coding agents into turns to learn from, secrets masked"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "sources",
            nargs="+",
            metavar="SOURCE",
            help="log, folder of logs, URL of a store, or claude-code, codex, opencode for their usual places",
        )
        parser.add_argument("--output", type=Path, required=True, metavar="FILE.jsonl", help="turns to write or add to")
        parser.add_argument("--kind", choices=KINDS, help="read every source as this (default: recognised)")
        parser.add_argument("--no-text", action="store_true", help="keep features and digests only, no words")
        parser.add_argument("--subagents", action="store_true", help="keep the prompts that agents gave to subagents")
        parser.add_argument("--salt", help="key of the digests, to compare them across machines")

    def run(self, args: argparse.Namespace) -> int:
        from .run import ImportConfig, import_turns

        config = ImportConfig(
            sources=tuple(args.sources),
            output=args.output,
            kind=args.kind,
            keeps_text=not args.no_text,
            with_subagents=args.subagents,
            salt=args.salt,
            shows_progress=True,
        )
        print(_summary_text(import_turns(config), args.output))
        return 0


def _summary_text(summary: "Summary", output: Path) -> str:
    lines = [
        f"{summary.n_turns} turns in {output}, {summary.n_new_turns:+d} in this run",
        f"{summary.n_sources} sources, {summary.n_unchanged} unchanged; {summary.n_unrecognised} files not recognised",
    ]
    lines += [f"  {n:>8}  {kind}" for kind, n in sorted(summary.turns.items())]
    if summary.counts:
        lines.append("left out:")
        lines += [f"  {n:>8}  {what}" for what, n in sorted(summary.counts.items())]
    if summary.located:
        lines.append("could not be read:")
        lines += [f"  {place}" for place in summary.located]
    return "\n".join(lines)

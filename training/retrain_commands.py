"""`pointsman retrain`, `contest`, `promote`, `rollback` and `canary`."""

import argparse
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .config import EncoderConfig, FinetuneConfig, TrainConfig

if TYPE_CHECKING:
    from .retrain import RetrainConfig

_ALIASES: Final = "mlruns/aliases"
_TRACK: Final = "mlruns"
_GO_ON: Final = "The same command goes on from there."
#: What a shell makes of SIGINT.
_INTERRUPTED: Final = 130


class RetrainCommand:
    """Train a challenger from everything there is, judge it, register it. Needs the training extra."""

    help = "train a challenger on new labels, hold the contest with the champion, register it"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument(
            "--heads", action="store_true", help="fit new heads on the champion's encoder, in seconds (default)"
        )
        mode.add_argument("--full", action="store_true", help="fine-tune an encoder, too")
        parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE.jsonl", help="labelled turns")
        parser.add_argument(
            "--readings", type=Path, nargs="+", default=[], metavar="FILE.tsv", help="labels by row id, for --data"
        )
        parser.add_argument(
            "--records",
            nargs="+",
            default=[],
            metavar="URL",
            help="record stores of the service: turns whose labels people corrected, where text is stored",
        )
        parser.add_argument("--gold", type=Path, nargs="+", default=[], metavar="FILE.jsonl", help="fixed contest sets")
        parser.add_argument(
            "--recent-share",
            type=_share,
            default=0.2,
            metavar="SHARE",
            help="newest share of the dated turns, kept for the contest (default: 0.2)",
        )
        parser.add_argument("--traffic", type=Path, nargs="+", default=[], metavar="FILE.jsonl", help="as for train")
        parser.add_argument("--lexicon", type=Path, nargs="+", default=[], metavar="FILE.tsv", help="as for train")
        parser.add_argument("--champion", type=Path, help="bundle to challenge while the alias folder has no champion")
        parser.add_argument("--version", help="name of the new bundle (default: mode, day and key)")
        parser.add_argument(
            "--work", type=Path, default=Path("mlruns/retrain"), help="folder of retrainings (default: mlruns/retrain)"
        )
        _add_place(parser)
        parser.add_argument(
            "--shadow",
            type=_share,
            default=1.0,
            metavar="SHARE",
            help="of the live turns that a challenger which passed assesses in the shadow (default: 1)",
        )
        parser.add_argument("--promote", action="store_true", help="promote it at once when it passes every gate")
        parser.add_argument("--again", action="store_true", help="also when the same retraining is done already")
        parser.add_argument("--epochs", type=int, metavar="N", help="passes over the data, with --full (default: 2)")
        parser.add_argument(
            "--layers", type=int, metavar="N", help="keep the encoder's first N layers, with --full (default: all)"
        )
        parser.add_argument(
            "--encoder",
            help="folder, installed package or hub name with first weights, with --full (default: the pinned MiniLM)",
        )
        parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")

    def run(self, args: argparse.Namespace) -> int:
        """Return 0 when the challenger passed, or nothing is new; 3 when the champion stays."""
        try:
            from .promotion import Place, promote
            from .retrain import retrain
        except ModuleNotFoundError as error:
            return _missing("retraining", error)
        for name in ("epochs", "layers", "encoder"):
            if getattr(args, name) is not None and not args.full:
                print(f"pointsman: --{name} is about the encoder, which --heads keeps. Add --full.", file=sys.stderr)
                return 2
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
        try:
            done = retrain(_retrain_config(args))
        except KeyboardInterrupt:
            print(f"pointsman: interrupted; what is done stays in {args.work}. {_GO_ON}", file=sys.stderr)
            return _INTERRUPTED
        judgement, version = done.judgement, done.bundle.manifest.version
        if not done.is_new:
            print(f"nothing is new since {version} was trained; --again trains it all the same")
        print(f"{version} ({done.bundle.digest[:12]}) in {done.bundle.path}, run {done.run_id or 'not tracked'}")
        print(f"verdict in {done.page}: {'promote' if judgement.promotes else 'keep the champion'}")
        print(judgement.reason)
        if not judgement.promotes:
            return 3
        place = Place(args.aliases, args.track)
        tried = place.folder.challenger()
        # One that passed earlier and is still tried for that: its promotion was refused, or cut off. After a rollback,
        # or in a trial that somebody began by hand, it is not promoted again.
        waits = tried is not None and (tried.pointer.digest, tried.pointer.reason) == (
            done.bundle.digest,
            judgement.reason,
        )
        if args.promote and (done.is_new or waits):
            champion = promote(place, verdict=done.page.parent)
            print(f"{champion.pointer.version} serves now")
        elif done.is_new or waits:
            print(f"to promote it: pointsman promote --aliases {args.aliases} --verdict {done.page.parent}")
        return 0


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        msg = f"found {text}, expected a share from 0 to 1"
        raise argparse.ArgumentTypeError(msg)
    return value


def _retrain_config(args: argparse.Namespace) -> "RetrainConfig":
    from .encoder_source import encoder_named
    from .retrain import RetrainConfig
    from .snapshot import Sources

    finetune = FinetuneConfig(n_threads=args.threads)
    if args.epochs is not None:
        finetune = replace(finetune, epochs=args.epochs)
    encoder = EncoderConfig() if args.encoder is None else encoder_named(args.encoder)
    return RetrainConfig(
        mode="full" if args.full else "heads",
        sources=Sources(
            tuple(args.data), tuple(args.readings), tuple(args.records), args.recent_share, tuple(args.traffic)
        ),
        train=TrainConfig(
            data=(),
            output=args.work,
            tracking=args.track,
            lexicon=tuple(args.lexicon),
            finetune=finetune,
            encoder=replace(encoder, n_layers=args.layers),
        ),
        work=args.work,
        aliases=args.aliases,
        champion=args.champion,
        gold=tuple(args.gold),
        version=args.version,
        shadow_share=args.shadow,
        again=args.again,
    )


class ContestCommand:
    """Hold the contest between champion and challenger. Needs the training extra."""

    help = "measure champion and challenger on the same turns and write a verdict with reasons"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--gold", type=Path, nargs="+", required=True, metavar="FILE.jsonl", help="fixed sets")
        parser.add_argument("--recent", type=Path, metavar="FILE.jsonl", help="newest labelled turns, with 'at'")
        parser.add_argument("--champion", type=Path, help="bundle (default: the alias folder's)")
        parser.add_argument("--challenger", type=Path, help="bundle (default: the alias folder's)")
        parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the verdict goes")
        _add_aliases(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Return 0 when the challenger passed, 3 when the champion stays."""
        try:
            from .contest_files import ContestFiles, contest_files
        except ModuleNotFoundError as error:
            return _missing("a contest", error)
        from .verdict import markdown, write_verdict

        files = ContestFiles(tuple(args.gold), args.aliases, args.champion, args.challenger, args.recent)
        verdict = contest_files(files)
        page = write_verdict(args.output, verdict)
        print(markdown(verdict))
        print(f"verdict in {page}")
        return 0 if verdict.promotes else 3


class PromoteCommand:
    """Let the challenger serve."""

    help = "let a challenger that passed the contest serve; servers take it up within seconds"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--verdict", type=Path, metavar="FOLDER", help="with the verdict of the contest")
        parser.add_argument("--bundle", type=Path, help="bundle to promote (default: the alias folder's challenger)")
        parser.add_argument("--force", metavar="REASON", help="whatever the verdict says; the reason is kept")
        _add_place(parser)

    def run(self, args: argparse.Namespace) -> int:
        from .promotion import Place, promote

        place = Place(args.aliases, args.track)
        champion = promote(place, verdict=args.verdict, bundle=args.bundle, force=args.force)
        pointer = champion.pointer
        print(f"{pointer.version} ({pointer.digest[:12]}) serves now: {pointer.reason}")
        if champion.before:
            print(f"back to {champion.before[0].version}: pointsman rollback --aliases {args.aliases}")
        return 0


class RollbackCommand:
    """Let the bundle serve that served before."""

    help = "let the bundle serve that served before the present champion"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--reason", default="rolled back by hand", help="kept with the alias")
        _add_place(parser)

    def run(self, args: argparse.Namespace) -> int:
        from .promotion import Place, roll_back

        pointer = roll_back(Place(args.aliases, args.track), reason=args.reason).pointer
        print(f"{pointer.version} ({pointer.digest[:12]}) serves again")
        return 0


class CanaryCommand:
    """Set how a challenger is tried on live traffic."""

    help = "let a challenger assess live turns in the shadow, and decide a share of them"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--bundle", type=Path, help="challenger (default: the one that is tried already)")
        parser.add_argument("--shadow", type=float, metavar="SHARE", help="of turns it assesses and decides nothing")
        parser.add_argument("--share", type=float, metavar="SHARE", help="of sessions it decides")
        parser.add_argument("--keys", nargs="*", metavar="KEY_ID", help="keys whose turns it decides; none to clear")
        parser.add_argument("--off", action="store_true", help="end the trial")
        _add_aliases(parser)

    def run(self, args: argparse.Namespace) -> int:
        from .promotion import Place, try_out

        place = Place(args.aliases)
        if args.off:
            place.folder.challenge(None)
            print("no challenger is tried any more")
            return 0
        challenger = try_out(
            place,
            bundle=args.bundle,
            shadow_share=args.shadow,
            canary_share=args.share,
            canary_keys=None if args.keys is None else tuple(args.keys),
        )
        keys = ", ".join(challenger.canary_keys) or "none"
        print(
            f"{challenger.pointer.version}: assesses {challenger.shadow_share:.1%} of turns in the shadow, decides "
            f"{challenger.canary_share:.1%} of sessions and those of keys: {keys}"
        )
        return 0


def _add_place(parser: argparse.ArgumentParser) -> None:
    _add_aliases(parser)
    parser.add_argument(
        "--track",
        default=os.environ.get("MLFLOW_TRACKING_URI", _TRACK),
        metavar="FOLDER|URL",
        help="MLflow store with runs and registry (default: MLFLOW_TRACKING_URI, else mlruns)",
    )
    parser.add_argument("--no-track", action="store_const", const=None, dest="track", help="leave MLflow out")


def _add_aliases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--aliases",
        type=Path,
        default=Path(_ALIASES),
        metavar="FOLDER",
        help=f"alias folder that servers read as POINTSMAN_BUNDLE (default: {_ALIASES})",
    )


def _missing(what: str, error: ModuleNotFoundError) -> int:
    print(f"pointsman: {what} needs {error.name}; run: pip install 'pointsman[training]'.", file=sys.stderr)
    return 2

"""The `pointsman` command: finds the sub-commands of every installed package, and the ones of this package.

A sub-command is a class with `help`, `add_arguments(parser)` and `run(args) -> exit status`, registered under the
entry-point group `pointsman.commands`. Errors raised on purpose become one line on stderr and exit status 2.
"""

import argparse
import json
import platform
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from .answers import assessment_answer, decision_answer, model_answer
from .assessment import Decision, Message, Turn
from .errors import ClassifierError
from .evidence import OVERALL
from .labels import HEADS

if TYPE_CHECKING:
    from .catalog import Catalog, Model
    from .router import Router

GROUP: Final = "pointsman.commands"
_ORDER: Final = (
    "serve",
    "decide",
    "classify",
    "models",
    "gateway",
    "env",
    "replay",
    "tune",
    "savings",
    "evaluate",
    "report",
    "import",
    "labels",
    "label",
    "autolabel",
    "drift",
    "pretrain",
    "train",
    "retrain",
    "contest",
    "promote",
    "rollback",
    "canary",
    "doctor",
    "keys",
    "audit",
    "forget",
    "export",
)


_NO_BOUND: Final = "none  the bundle carries no risk bound"


class Command(Protocol):
    """What a sub-command offers."""

    help: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        return int(args.command.run(args))
    except (ClassifierError, FileNotFoundError, IsADirectoryError) as error:
        print(f"pointsman: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser from the registered sub-commands."""
    parser = argparse.ArgumentParser(
        prog="pointsman",
        description="Decides which model should take a coding agent's turn.",
        epilog="pointsman COMMAND --help says more of each.",
    )
    parser.add_argument("--version", action="version", version=f"pointsman {metadata.version('pointsman')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in _registered():
        sub = commands.add_parser(name, help=command.help, description=command.help[:1].upper() + command.help[1:])
        command.add_arguments(sub)
        sub.set_defaults(command=command)
    return parser


def _registered() -> list[tuple[str, Command]]:
    found = {point.name: point for point in metadata.entry_points(group=GROUP)}
    names = [name for name in _ORDER if name in found] + sorted(set(found) - set(_ORDER))
    return [(name, found[name].load()()) for name in names]


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, help="bundle folder (default: the one that ships)")
    parser.add_argument("--catalog", help="catalogue file or profile name (default: anthropic-dashscope)")
    parser.add_argument("--policy", help="policy file or preset: frugal, balanced, careful (default: balanced)")


class DecideCommand:
    """Decide one request."""

    help = "decide which model should take a request or a prompt"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("request", nargs="?", help="a prompt, a JSON file with a request body, or - for stdin")
        parser.add_argument("--path", help="request path the body was sent to, such as /v1/messages")
        parser.add_argument("--session", help="session id")
        parser.add_argument("--models", help="allowed models, separated by commas")
        parser.add_argument("--json", action="store_true", help="print JSON")
        _add_model_arguments(parser)

    def run(self, args: argparse.Namespace) -> int:
        from .router import Router

        body = _request_body(args.request)
        router = Router.load(args.bundle, catalog=args.catalog, policy=args.policy)
        models = [name.strip() for name in args.models.split(",")] if args.models else None
        decision = router.decide(body, path=args.path, session_id=args.session, models=models)
        print(json.dumps(decision_answer(decision), indent=2) if args.json else _decision_text(decision))
        return 0


def _request_body(request: str | None) -> bytes | dict[str, str]:
    """Return a body from a file or stdin, or a prompt as a digest."""
    if request in (None, "-"):
        raw = sys.stdin.buffer.read()
        return raw if raw.lstrip()[:1] == b"{" else {"prompt": raw.decode("utf-8", "replace")}
    path = Path(str(request))
    if _is_file(path):
        return path.read_bytes()
    if path.suffix == ".json":
        msg = f"no such file: {path}; expected a JSON request body, or a prompt."
        raise FileNotFoundError(msg)
    return {"prompt": str(request)}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a prompt can be too long or too odd for a path
        return False


def _decision_text(decision: Decision) -> str:
    lines = [f"{decision.model}  ({decision.provider})"]
    if decision.assessment is not None:
        results = (getattr(decision.assessment, head) for head in HEADS)
        lines.append("  " + "  ".join(f"{r.head} {r.label} {r.probability:.2f}" for r in results))
    lines += [f"  {reason}" for reason in decision.reasons]
    lines += [f"  expected cost of {c.model}: {c.total:.4f} USD" for c in decision.expected_cost[:4]]
    lines += [f"  left out: {e.model}, {e.detail}" for e in decision.excluded]
    return "\n".join(lines)


class ClassifyCommand:
    """Classify prompts without choosing a model."""

    help = "print category, risk, scope and turn of prompts"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("prompts", nargs="*", help="prompts; without any, one prompt is read from stdin")
        parser.add_argument(
            "--context", action="append", default=[], metavar="ROLE:TEXT", help="an earlier message; may be repeated"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--bundle", type=Path, help="bundle folder (default: the one that ships)")

    def run(self, args: argparse.Namespace) -> int:
        from .assessor import Assessor

        context = tuple(_message(item) for item in args.context)
        turns = [Turn(prompt=prompt, context=context) for prompt in args.prompts or [sys.stdin.read()]]
        for turn, assessment in zip(turns, Assessor.load(args.bundle).assess(turns), strict=True):
            if args.json:
                print(json.dumps(assessment_answer(assessment)))
            else:
                results = (getattr(assessment, head) for head in HEADS)
                shown = "  ".join(f"{r.head} {r.label} {r.probability:.2f}" for r in results)
                print(f"{turn.prompt[:60]!r}: {shown}  novelty {assessment.novelty:.2f}")
        return 0


def _message(item: str) -> Message:
    role, separator, text = item.partition(":")
    if not separator or role not in {"user", "assistant"}:
        msg = f"--context {item[:20]!r}: expected user:TEXT or assistant:TEXT."
        raise ClassifierError(msg)
    return Message(role, text)


class ModelsCommand:
    """Show what is believed of each model."""

    help = "print how often each model of the catalogue is believed to fail, by category, and on what grounds"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", help="models to show (default: all of the catalogue)")
        parser.add_argument("--catalog", help="catalogue file or profile name (default: anthropic-dashscope)")
        parser.add_argument(
            "--records", type=Path, help="JSON lines of decision and feedback rows: their outcomes are counted, too"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def run(self, args: argparse.Namespace) -> int:
        from .catalog import Catalog
        from .router import DEFAULT_CATALOG

        catalog = Catalog.load(args.catalog or DEFAULT_CATALOG)
        if args.records is not None:
            catalog = _with_records(catalog, args.records)
        unknown = [name for name in args.names if catalog.model(name) is None]
        if unknown:
            msg = f"found no model {unknown[0]!r}; expected any of {', '.join(catalog.by_name)}. Check the name."
            raise ClassifierError(msg)
        models = [model for model in catalog.models if not args.names or model.name in args.names]
        if args.json:
            answer = {"version": catalog.version, "models": [model_answer(model) for model in models]}
            print(json.dumps(answer, indent=2, default=str))
            return 0
        print(f"catalogue {catalog.version}, evidence as of {catalog.setting.as_of}")
        for model in models:
            print(_model_text(model))
        return 0


def _with_records(catalog: "Catalog", path: Path) -> "Catalog":
    from .outcomes import Judged, SeenTurn, tally_outcomes
    from .records import DecisionRecord, FeedbackRecord

    turns, judged = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if row["record"] == "feedback":
                judged.append(Judged.of(FeedbackRecord.from_json(row)))
            elif (turn := SeenTurn.of(DecisionRecord.from_json(row))) is not None:
                turns.append(turn)
        except (ValueError, KeyError, TypeError, ClassifierError) as error:
            msg = f"{path}:{number}: found no record ({error}); expected a row of /v1/decisions or feedback. Remove it."
            raise ClassifierError(msg) from error
    today = datetime.now(UTC).date()
    return catalog.with_outcomes(tally_outcomes(turns, judged, as_of=today), today)


def _model_text(model: "Model") -> str:
    answer = model_answer(model)
    lines = [f"{model.name}  ({model.provider}, {model.tier})", "  category         fails  90 % interval  trials"]
    for category, cell in answer["belief"].items():
        name = "overall" if category == OVERALL else category
        interval = f"{cell['low']:.3f} to {cell['high']:.3f}"
        lines.append(f"  {name:<15}  {cell['failure']:.3f}  {interval}  {cell['trials']:6.1f}")
    return "\n".join(lines)


class DoctorCommand:
    """Check the installation."""

    help = "check the installation: bundle, catalogue, policy, one decision, optional parts"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        _add_model_arguments(parser)

    def run(self, args: argparse.Namespace) -> int:
        from .router import Router

        print(f"pointsman {metadata.version('pointsman')} on Python {platform.python_version()}")
        started = time.perf_counter()
        router = Router.load(args.bundle, catalog=args.catalog, policy=args.policy)
        print(f"ok    bundle {router.model_version}, verified and loaded in {time.perf_counter() - started:.2f} s")
        print(f"ok    catalogue with {len(router.catalog.models)} models, policy {router.policy.version}")
        print(*_bound_lines(router), sep="\n")
        decision = router.decide({"prompt": "Say hello"})
        print(f"ok    a decision in {decision.latency_ms['total']:.1f} ms: {decision.model}")
        for extra, module in (("serving", "fastapi"), ("training", "torch")):
            print(f"{_installed(module):<5} pointsman[{extra}]")
        return 0


def _bound_lines(router: "Router") -> list[str]:
    """Say which of the bundle's promises the policy keeps to, and what else the bundle could or could not promise."""
    policy, kept = router.policy, router.risk_bound
    asked = f"policy {policy.name} asks for at most {policy.max_missed:.0%}"
    if kept is None:
        lines = [f"none  {asked}, and the bundle promises nothing" if router.risk_bounds else _NO_BOUND]
    elif not policy.enforce_risk_bound:
        lines = [f"off   policy {policy.name} does not enforce it: {kept.describe()}"]
    elif kept.max_missed == policy.max_missed:
        lines = [f"ok    {kept.describe()}"]
    else:
        kind = "ok" if kept.max_missed < policy.max_missed else "weak"
        other = "stricter" if kind == "ok" else "wider, as the bundle cannot promise less"
        lines = [f"{kind:<5} {asked}; kept is a promise that is {other}: {kept.describe()}"]
    return [*lines, *(f"      {bound.describe()}" for bound in router.risk_bounds if bound is not kept)]


def _installed(module: str) -> str:
    try:
        metadata.version(module)
    except metadata.PackageNotFoundError:
        return "none"
    return "ok"

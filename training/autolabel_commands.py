"""`pointsman autolabel`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pointsman.classifier.labels import Head

    from .llm_labeller import Agreement, LLMLabeller, Prices, Spent

_MIN_CHECKED = 30
#: People agree with each other on 0.73 to 0.96 of labels, head by head (`data/README.md`).
_FLOOR = 0.7
_PEOPLE = ("person", "file", "feedback")


class AutolabelCommand:
    """Let a language model label turns. Needs the training extra."""

    help = "let a language model label imported turns, after measuring it against people's labels"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("turns", nargs="+", type=Path, metavar="TURNS.jsonl", help="turns as `import` writes them")
        parser.add_argument("--model", required=True, help="model, as the endpoint names it")
        parser.add_argument("--provider", choices=("openai", "anthropic"), default="openai", help="form of the API")
        parser.add_argument("--base-url", help="address of the endpoint (default: the provider's own)")
        parser.add_argument("--output", type=Path, required=True, metavar="LABELS.jsonl", help="labels by id to add to")
        parser.add_argument(
            "--people", nargs="+", type=Path, default=[], metavar="FILE", help="labels of people, by id, to measure on"
        )
        parser.add_argument("--check", type=int, default=100, help="turns to measure on (default: %(default)s)")
        parser.add_argument("--limit", type=int, default=1000, help="turns to label (default: %(default)s)")
        parser.add_argument(
            "--floor", type=float, default=_FLOOR, help="least agreement with people, each head (default: %(default)s)"
        )
        parser.add_argument("--anyway", action="store_true", help="write labels even below the floor, or unmeasured")
        parser.add_argument("--per-request", type=int, default=8, help="turns in one question (default: %(default)s)")
        parser.add_argument("--workers", type=int, default=4, help="questions at a time (default: %(default)s)")
        parser.add_argument("--budget", type=float, metavar="USD", help="stop once this is spent; needs known prices")
        parser.add_argument(
            "--prices",
            type=float,
            nargs=2,
            metavar=("IN", "OUT"),
            help="USD per million tokens (default: the catalogue's, where it has the model)",
        )
        parser.add_argument("--catalog", help="catalogue file or profile name (default: anthropic-dashscope)")

    def run(self, args: argparse.Namespace) -> int:
        from pointsman.classifier.errors import InputError

        try:
            from .llm_chat import Endpoint, open_chat
            from .llm_labeller import LLMLabeller, Spent
        except ModuleNotFoundError as error:
            found = f"autolabel needs {error.name}, which is not installed. Run: pip install 'pointsman[training]'."
            print(found, file=sys.stderr)
            return 2
        prices = _prices(args)
        if args.budget is not None and prices is None:
            msg = f"no prices are known for {args.model!r}, so --budget cannot be kept. Give --prices IN OUT."
            raise InputError(msg)
        chat = open_chat(Endpoint(args.provider, args.model, args.base_url))
        labeller = LLMLabeller(chat, args.per_request, args.workers, args.budget, Spent(prices))
        return _run(args, labeller)


def _run(args: argparse.Namespace, labeller: "LLMLabeller") -> int:
    from tqdm import tqdm

    from .label_files import Judgement, append_judgement, labels_by
    from .label_sources import read_rows
    from .llm_labeller import agreement

    by = f"llm:{args.model}"
    people, rows = _people(args), {str(row["id"]): row for row in read_rows(args.turns) if row.get("prompt")}
    checked = [rows[name] for name in sorted(people.keys() & rows.keys())][: args.check]
    where = args.base_url or args.provider
    print(f"asking {args.model} at {where}; the text of turns goes there", file=sys.stderr)
    with tqdm(total=len(checked), desc="check", unit="turn", disable=not sys.stderr.isatty()) as bar:
        measured = dict(labeller.label(checked, on_batch=bar.update))
    found = agreement(people, measured)
    print(_agreement_text(found, len(checked)))
    refusal = _refusal(found, len(measured), args.floor)
    if refusal and not args.anyway:
        print(f"{refusal} --anyway writes all the same.\n{_spent_text(labeller.spent)}", file=sys.stderr)
        return 1
    done = (
        {name for name, given in labels_by([args.output]).items() if given.get(by)} if args.output.exists() else set()
    )
    for name, labels in measured.items():
        if name not in done:
            append_judgement(args.output, Judgement(name, by, labels))
    left = [row for name, row in rows.items() if name not in done and name not in people][: args.limit]
    n_labelled = 0
    with tqdm(total=len(left), desc="label", unit="turn", disable=not sys.stderr.isatty()) as bar:
        for name, labels in labeller.label(left, on_batch=bar.update):
            append_judgement(args.output, Judgement(name, by, labels))
            n_labelled += 1
    print(f"{n_labelled} of {len(left)} turns labelled, in {args.output}\n{_spent_text(labeller.spent)}")
    if labeller.is_out_of_budget:
        print("stopped: the budget is spent. Run again with a larger one to go on.", file=sys.stderr)
    return 0


def _people(args: argparse.Namespace) -> "dict[str, dict[Head, str]]":
    """Return what people said of each turn, in label files and in the rows themselves; the last one counts."""
    from .label_files import labels_by
    from .label_sources import explicit_labels, read_rows

    judged = labels_by(args.people)
    found: dict[str, dict[Head, str]] = {}
    for row in read_rows(args.turns):
        name = str(row.get("id"))
        for head, source, label in explicit_labels(row, judged.get(name, {})):
            if source.partition(":")[0] in _PEOPLE:
                found.setdefault(name, {})[head] = label
    return found


def _prices(args: argparse.Namespace) -> "Prices | None":
    from pointsman.classifier.catalog import Catalog
    from pointsman.classifier.router import DEFAULT_CATALOG

    from .llm_labeller import Prices

    if args.prices is not None:
        return Prices(args.prices[0], args.prices[0], args.prices[1])
    model: Any = Catalog.load(args.catalog or DEFAULT_CATALOG).model(args.model)
    if model is None:
        return None
    tier = model.prices(0)
    return Prices(tier.input, tier.cache_read, tier.output)


def _refusal(found: "list[Agreement]", n_measured: int, floor: float) -> str | None:
    if n_measured < _MIN_CHECKED:
        return (
            f"measured on {n_measured} turns that people labelled; expected at least {_MIN_CHECKED}, so nothing was "
            "written. Label some: pointsman label."
        )
    below = [f"{head.head} {head.share:.2f}" for head in found if head.share < floor]
    return f"agreement is below {floor:.2f} ({', '.join(below)}), so nothing was written." if below else None


def _agreement_text(found: "list[Agreement]", n_checked: int) -> str:
    lines = [f"agreement with people on {n_checked} turns", f"  {'head':<10}{'turns':>7}{'agree':>8}{'kappa':>8}"]
    return "\n".join([*lines, *(f"  {a.head:<10}{a.n_turns:>7}{a.share:>8.2f}{a.kappa:>8.2f}" for a in found)])


def _spent_text(spent: "Spent") -> str:
    cost = "cost unknown: give --prices IN OUT" if spent.usd is None else f"{spent.usd:.4f} USD"
    tokens = f"{spent.input_tokens} tokens in ({spent.cached_tokens} cached), {spent.output_tokens} out"
    return f"{spent.n_requests} questions, {tokens}, {cost}"

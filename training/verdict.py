"""The verdict of a contest as files: Markdown for people, JSON for `pointsman promote`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pointsman.classifier.errors import InputError

from .contest import Verdict
from .evaluate import plain
from .paired import Difference, SetFigures

JSON_FILE: Final = "verdict.json"
MARKDOWN_FILE: Final = "verdict.md"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a promotion needs to know of a verdict: who was judged against whom, and what came out."""

    champion: str
    challenger: str
    promotes: bool
    reason: str


def write_verdict(folder: Path, verdict: Verdict) -> Path:
    """Write both files into a folder and return the one for people."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(verdict_json(verdict), indent=2, ensure_ascii=False) + "\n"
    (folder / JSON_FILE).write_text(text, encoding="utf-8")
    page = folder / MARKDOWN_FILE
    page.write_text(markdown(verdict), encoding="utf-8")
    return page


def read_judgement(folder: Path) -> Judgement:
    """Read what `write_verdict` wrote.

    Raises
    ------
    InputError
        There is no verdict, or it cannot be read.
    """
    file = folder / JSON_FILE
    try:
        values = json.loads(file.read_bytes())
        return Judgement(
            str(values["champion"]["digest"]),
            str(values["challenger"]["digest"]),
            bool(values["promotes"]),
            str(values["reason"]),
        )
    except FileNotFoundError as error:
        msg = f"{file}: no such file; expected the verdict of a contest. Run: pointsman contest."
        raise InputError(msg) from error
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{file}: not readable ({type(error).__name__}); expected what 'pointsman contest' writes. Run it again."
        raise InputError(msg) from error


def markdown(verdict: Verdict) -> str:
    """Lay a verdict out as a page."""
    first, second = verdict.champion, verdict.challenger
    outcome = "Promote the challenger" if verdict.promotes else "Keep the champion"
    lines = [
        f"# {outcome}",
        "",
        f"Champion {first.version} ({first.digest[:12]}), challenger {second.version} ({second.digest[:12]}).",
        _told(verdict),
        "",
        "| gate | | why |",
        "|---|---|---|",
        *(f"| {gate.name} | {'passed' if gate.passed else '**failed**'} | {gate.reason} |" for gate in verdict.gates),
        "",
        "Differences are challenger minus champion with the 95 % interval of a paired bootstrap over groups.",
    ]
    for name, found in verdict.sets.items():
        lines += _set_lines(name, found)
    return "\n".join(lines) + "\n"


def _told(verdict: Verdict) -> str:
    failed = [gate.name for gate in verdict.gates if not gate.passed]
    n_gates = len(verdict.gates)
    return (
        f"{len(failed)} of {n_gates} gates failed: {', '.join(failed)}." if failed else f"All {n_gates} gates passed."
    )


def _set_lines(name: str, found: SetFigures) -> list[str]:
    parts = {
        "figure": found.figures,
        "recall of": found.recall,
        "category accuracy in": found.languages,
        "category accuracy on": found.days,
    }
    lines = ["", f"## {name}: {found.n_rows} turns of {found.n_groups} groups"]
    for title, differences in parts.items():
        lines += _table(title, differences)
    return lines


def _table(title: str, found: Mapping[str, Difference]) -> list[str]:
    if not found:
        return []
    rows = [
        f"| {name} | {d.n_rows} | {d.champion:.3f} | {d.challenger:.3f} | {d.rise:+.3f} | "
        f"{d.interval[0]:+.3f} to {d.interval[1]:+.3f} |"
        for name, d in found.items()
    ]
    return ["", f"| {title} | turns | champion | challenger | difference | 95 % |", "|---|---|---|---|---|---|", *rows]


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as JSON values."""
    return {
        "promotes": verdict.promotes,
        "reason": verdict.reason,
        "champion": verdict.champion.to_json(),
        "challenger": verdict.challenger.to_json(),
        "gates": plain([asdict(gate) for gate in verdict.gates]),
        "sets": {
            name: {
                "n_rows": found.n_rows,
                "n_groups": found.n_groups,
                **{part: _differences(getattr(found, part)) for part in ("figures", "recall", "languages", "days")},
            }
            for name, found in verdict.sets.items()
        },
    }


def _differences(found: Mapping[str, Difference]) -> Any:
    return plain(
        {
            name: {
                "champion": d.champion,
                "challenger": d.challenger,
                "rise": d.rise,
                "interval": d.interval,
                "p_rise": d.p_rise,
                "p_fall": d.p_fall,
                "n_rows": d.n_rows,
            }
            for name, d in found.items()
        }
    )

"""Bring serving/GROWTH.md up to date with a results file: `python tests/benchmarks/growth.py`.

Measured inputs are taken from the newest file in `results/`, derived lines are computed again; the prose is left for
a person to read over.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "serving" / "GROWTH.md"
RESULTS = ROOT / "tests" / "benchmarks" / "results"


def shown(value: float) -> str:
    """Three digits, as a person reads them."""
    digits = float(f"{value:.3g}")
    return f"{digits:,.0f}" if digits >= 100 else f"{digits:#.3g}"


def renewed(page: str, results: Path) -> str:
    """Return the page with the figures of a results file."""
    rows = {(row["part"], row["what"]): row.get("ours") for row in json.loads(results.read_text())["rows"]}
    known: dict[str, float] = {}
    lines = re.sub(r"`\d{4}-\d\d-\d\d\.json`", f"`{results.name}`", page).splitlines()
    for at, line in enumerate(lines):
        if not line.startswith("| `"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = cells[0].strip("`")
        if cells[1].startswith("`"):
            known[name] = eval(cells[1].strip("`"), {"__builtins__": {}}, known)
            cells[2] = shown(known[name])
        else:
            if cells[3].startswith("measured: "):
                part, what = cells[3].removeprefix("measured: ").split(" / ", 1)
                cells[1] = shown(rows[part, what])
            known[name] = float(cells[1].replace(",", ""))
        lines[at] = f"| {' | '.join(cells)} |"
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    newest = max(RESULTS.glob("*.json"))
    PAGE.write_text(renewed(PAGE.read_text(), newest))
    sys.stdout.write(f"serving/GROWTH.md has the figures of {newest.name} now; read its prose over.\n")

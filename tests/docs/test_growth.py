"""serving/GROWTH.md: its arithmetic holds, and its measured inputs are those of the results that it names."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "serving" / "GROWTH.md").read_text()
RESULTS = ROOT / "tests" / "benchmarks" / "results"
TOLERANCE = 0.01


def table_rows():
    lines = [line for line in TEXT.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def number(cell):
    return float(cell.replace(",", ""))


INPUTS = {row[0].strip("`"): (number(row[1]), row[3]) for row in table_rows() if not row[1].startswith("`")}
DERIVED = {row[0].strip("`"): (row[1].strip("`"), number(row[2])) for row in table_rows() if row[1].startswith("`")}
MEASURED = {name: source for name, (_, source) in INPUTS.items() if source.startswith("measured: ")}


@pytest.mark.parametrize("name", DERIVED)
def test_arithmetic_holds(name):
    known = {given: value for given, (value, _) in INPUTS.items()}
    for derived, (formula, _) in DERIVED.items():
        known[derived] = eval(formula, {"__builtins__": {}}, known)
    assert known[name] == pytest.approx(DERIVED[name][1], rel=TOLERANCE)


@pytest.mark.parametrize("name", MEASURED)
def test_measured_input_is_that_of_the_results(name):
    file = re.search(r"`(\d{4}-\d\d-\d\d\.json)`", TEXT).group(1)
    rows = {(row["part"], row["what"]): row for row in json.loads((RESULTS / file).read_text())["rows"]}
    part, what = MEASURED[name].removeprefix("measured: ").split(" / ", 1)
    assert rows[part, what]["ours"] == pytest.approx(INPUTS[name][0], rel=TOLERANCE)


def test_every_kind_of_line_is_there():
    assert len(MEASURED) >= 5
    assert len(DERIVED) >= 10

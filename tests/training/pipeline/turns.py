"""Invented turns in any number, some of them copies."""

import json

import pyarrow.parquet as pq

VERBS = ("Rename", "Delete", "Explain", "Move", "Test", "Draw", "Cache", "Sort")
THINGS = ("the lighthouse lamp", "a ferry timetable", "our tide model", "the harbour map", "each buoy", "the fog horn")


def turn(n, prompt=None, **fields):
    """One turn, unlike every other one: its words are chosen by the digits of its number."""
    words = f"{VERBS[n % 8]} {THINGS[n // 8 % 6]} where {'north ' * (n // 48 % 5)}pier {n} meets quay {n * 7 + 1}"
    text = prompt or f"{words}, then tell the pilot of ship {n * 3} what has changed since tide {n * 13 + 5}"
    row = {"id": f"t{n}", "group": f"g{n % 5}", "prompt": text}
    return row | {"context": [{"role": "assistant", "text": f"Pier {n} has lamp {n + 1}."}]} | fields


def write_turns(path, rows):
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def read_output(folder):
    """Every turn in the parts by its id, which may stand there once only."""
    rows = [row for path in sorted((folder / "turns").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def read_copies(folder):
    rows = pq.read_table(folder / "duplicates.parquet").to_pylist()
    found = {row["id"]: (row["duplicate_of"], row["reason"]) for row in rows}
    assert len(found) == len(rows)
    return found


def contents(folder):
    """The bytes of everything a user reads."""
    paths = [
        *sorted((folder / "turns").iterdir()),
        *(folder / f"{name}.parquet" for name in ("duplicates", "outcomes")),
    ]
    return {path.name: path.read_bytes() for path in paths}

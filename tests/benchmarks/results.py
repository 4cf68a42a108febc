"""The published form of rows: `<date>.json`, and a Markdown table beside it.

A run may be made in pieces: a row takes the place of an older one of the same name, as long as machine, versions and
bundle are the same; a file of another machine or bundle is begun anew.
"""

import json

from . import machine

_COLUMNS = ("", "ours", "reference", "ratio", "95 %", "n", "goal", "")


def as_json(row, command):
    """Return one row as it is kept."""
    return {
        "part": row.part,
        "what": row.what,
        "unit": row.unit,
        "ours": row.ours,
        "beside": row.beside,
        "reference": row.reference,
        "ratio": row.ratio,
        "ratio_low": row.low,
        "ratio_high": row.high,
        "n": row.n,
        "goal": str(row.goal) if row.goal else None,
        "is_met": row.is_met,
        "command": command,
        "commit": machine.commit(),
        # Above the number of cores, other programs were waiting too, and times are longer than the machine's own.
        "load_average": machine.load_average(),
        "at": machine.now(),
    }


def skipped_as_json(part, what, reason, command):
    """Return what was not measured, as it is kept."""
    return {"part": part, "what": what, "skipped": reason, "command": command, "at": machine.now()}


def write(folder, rows):
    """Add rows to the day's results; return the path of the JSON file."""
    path = folder / f"{machine.now()[:10]}.json"
    place = {
        "machine": machine.describe_machine(),
        "versions": machine.describe_versions(),
        "bundle": machine.describe_bundle(),
    }
    kept = json.loads(path.read_text()) if path.exists() else {}
    old = kept["rows"] if kept and all(kept[name] == value for name, value in place.items()) else []
    named = {(row["part"], row["what"]): row for row in [*old, *rows]}
    folder.mkdir(parents=True, exist_ok=True)
    results = place | {"rows": list(named.values())}
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    path.with_suffix(".md").write_text(table(results))
    return path


def table(results):
    """Return the results as a Markdown page, one table per part."""
    place, bundle = results["machine"], results["bundle"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        "# Measured",
        "",
        f"{place['n_cores']} cores of {place['processor']}, {place['system']}; {versions}; bundle "
        f"{bundle['version']} ({bundle['digest'][:12]}). {_load(results['rows'])}Each row's command, commit, time "
        "and load stand in the JSON file. "
        "A ratio is ours over the reference, from repetitions that took turns; its interval is a bootstrap over them.",
    ]
    for part in dict.fromkeys(row["part"] for row in results["rows"]):
        lines += ["", f"## {part}", "", _line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
        lines += [_line(cells(row)) for row in results["rows"] if row["part"] == part]
    return "\n".join(lines) + "\n"


def _load(rows):
    loads = [row["load_average"] for row in rows if row.get("load_average") is not None]
    return f"Load averages were {min(loads):g} to {max(loads):g}. " if loads else ""


def shown(value):
    """Write a figure with three digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cells(row):
    """Return the cells of a row of the table."""
    if "skipped" in row:
        return (row["what"], f"not measured: {row['skipped']}", *[""] * (len(_COLUMNS) - 2))
    has_reference = row["reference"] is not None
    has_interval = row["ratio_low"] is not None
    return (
        row["what"],
        f"{shown(row['ours'])} {row['unit']}",
        f"{shown(row['reference'])} ({row['beside']})" if has_reference else "",
        f"{row['ratio']:.2f}" if has_reference else "",
        f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}" if has_interval else "",
        str(row["n"]),
        row["goal"] or "",
        {True: "met", False: "missed", None: ""}[row["is_met"]],
    )


def _line(cells):
    return f"| {' | '.join(cells)} |"

"""Comparison and robustness as text: for the terminal, and as Markdown to paste."""

import math
from collections.abc import Sequence

from .contenders import Skipped, Standing
from .evaluate import Interval
from .report import Comparison, FullReport
from .robustness import TARGET, FlipReport


def percent(value: float | None) -> str:
    """Show a share as a whole percentage; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.0f} %"


def decimal(value: float | None, places: int = 3) -> str:
    """Show a figure with fixed places; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{places}f}"


def span(interval: Interval | None, places: int = 2) -> str:
    """Show an interval."""
    if interval is None or not all(map(math.isfinite, interval)):
        return "–"
    return f"{interval[0]:.{places}f}–{interval[1]:.{places}f}"


def comparison_text(comparison: Comparison) -> str:
    """Lay routers out side by side, and say which were not measured."""
    lines = [
        "beside others on the same turns, ranked by the AUC of needs-care (95 %: by group)",
        f"{'router':<34}{'category':>9}{'AUC':>8}{'95 %':>12}{'30 %':>7}{'50 %':>7}{'own cut: share, caught':>25}",
    ]
    for standing in comparison.standings:
        care, own = standing.care, standing.own_split
        cut = f"{percent(own.share)}, {percent(own.recall)}" if own else "–"
        lines.append(
            f"{standing.name[:33]:<34}{decimal(standing.category_accuracy):>9}{decimal(care.auc):>8}"
            f"{span(care.auc_interval.by_group):>12}{percent(care.recall['30%']):>7}{percent(care.recall['50%']):>7}"
            f"{cut:>25}"
        )
    lines.append("30 %, 50 %: turns needing care that it catches when that share may go to the careful model")
    return "\n".join([*lines, "", *skipped_lines(comparison.skipped)])


def skipped_lines(skipped: Sequence[Skipped]) -> list[str]:
    """Say of each router that was not measured why."""
    return [f"not measured: {item.name}: {item.reason}" for item in skipped]


def markdown(full: FullReport) -> str:
    """Return the comparison and the robustness as Markdown tables."""
    report = full.report
    return "\n".join(
        [
            f"`{report.model_version}`, {full.created_at[:10]}, {report.n_rows} turns of {report.n_groups} groups, "
            f"{report.care.n_needs_care} need care. Brackets: 95 % bootstrap over groups.",
            "",
            "| router | category accuracy | needs care: AUC | caught at 30 % | caught at 50 % "
            "| high risk missed at 50 % |",
            "|---|---|---|---|---|---|",
            *map(_markdown_row, full.comparison.standings),
            "",
            f"| the same request, with | changes sides (target {percent(TARGET)}) | changes category | changes risk |",
            "|---|---|---|---|",
            *map(_flip_row, [*full.perturbations, *full.pairs]),
            "",
        ]
    )


def _markdown_row(standing: Standing) -> str:
    care = standing.care
    name = f"**{standing.name}**" if standing.kind == "bundle" else standing.name
    category = decimal(standing.category_accuracy)
    if standing.category_accuracy_interval:
        category += f" ({span(standing.category_accuracy_interval.by_group)})"
    cells = [
        name,
        category,
        f"{decimal(care.auc)} ({span(care.auc_interval.by_group)})",
        percent(care.recall["30%"]),
        percent(care.recall["50%"]),
        percent(care.high_risk_missed["50%"]),
    ]
    return f"| {' | '.join(cells)} |"


def _flip_row(flips: FlipReport) -> str:
    interval = span(flips.care_flips_interval, 3)
    cells = [flips.name, f"{100 * flips.care_flips:.1f} % ({interval})", percent(flips.category_flips)]
    return f"| {' | '.join([*cells, percent(flips.risk_flips)])} |"


def robustness_text(full: FullReport) -> str:
    """Lay the flips out as a plain table."""
    lines = [
        f"{'the same request, with':<34}{'changed':>8}{'sides':>8}{'95 %':>14}{'category':>10}{'risk':>7}",
        *(
            f"{flips.name:<34}{flips.n_changed:>8}{flips.care_flips:>8.3f}"
            f"{span(flips.care_flips_interval, 3):>14}{flips.category_flips:>10.3f}{flips.risk_flips:>7.3f}"
            f"{'' if flips.within_target else '  over target'}"
            for flips in [*full.perturbations, *full.pairs]
        ),
    ]
    return "\n".join(lines)

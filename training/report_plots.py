"""The report's plots as inline SVG that takes its colours from the page, so that light and dark both read well."""

import io
import re
from collections.abc import Sequence
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pointsman.classifier.labels import Head

from .contenders import Standing
from .evaluate import HeadReport
from .robustness import TARGET, FlipReport

#: Colours that matplotlib writes, and what the page puts in their place.
_INK, _MUTED, _GRID = "#010101", "#020202", "#030303"
_SERIES: Final = ("#040401", "#040402", "#040403", "#040404", "#040405", "#040406")
_COLOURS: Final = {_INK: "--ink", _MUTED: "--muted", _GRID: "--line"} | {
    colour: f"--series-{number}" for number, colour in enumerate(_SERIES)
}
_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pointsman",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
}
#: Place in the series of each kind of router: ours alike, baselines, other routers.
_KINDS: Final = {"bundle": 0, "ablation": 0, "baseline": 1, "peer": 2}
#: Inches of 72 points. A point is a pixel at this width, so a phone shows text at its size.
_WIDTH: Final = 4.8


def cost_risk_plot(standings: Sequence[Standing], *, n_rivals: int = 4) -> str:
    """Draw what slips through against what is spent: the bundle, the best rivals, and every router's own cut."""
    with rc_context(_STYLE):
        figure, axes = _figure(3.9)
        bundle = [standing for standing in standings if standing.kind == "bundle"]
        rivals = [s for s in standings if s.kind in ("baseline", "peer") and s.name != "constant"]
        axes.plot([0, 1], [1, 0], color=_MUTED, linestyle=":", label="chance")
        for standing, colour in zip([*bundle, *rivals[:n_rivals]], _SERIES, strict=False):
            shares = [point.share for point in standing.care.curve]
            axes.plot(shares, [point.missed for point in standing.care.curve], color=colour, label=standing.name)
        for standing in bundle:
            missed = [point.high_risk_missed for point in standing.care.curve]
            shares = [point.share for point in standing.care.curve]
            axes.plot(shares, missed, color=_SERIES[0], linestyle="--", label="the same, high risk only")
        cuts = [(s.own_split.share, 1 - s.own_split.recall) for s in standings if s.own_split]
        if cuts:
            shares_cut, missed_cut = zip(*cuts, strict=True)
            axes.scatter(
                shares_cut, missed_cut, marker="x", s=22, color=_MUTED, label="others at their own cut", zorder=3
            )
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="share of turns sent to the careful model", ylabel="missed")
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=1)
        return _svg(figure, "cost-risk", "Share of turns needing care that is missed, against the share sent up")


def auc_plot(standings: Sequence[Standing]) -> str:
    """Draw each router's AUC of needs-care with its interval, best at the top."""
    with rc_context(_STYLE):
        figure, axes = _figure(0.7 + 0.26 * len(standings))
        for place, standing in enumerate(reversed(standings)):
            colour = _SERIES[_KINDS[standing.kind]]
            axes.plot(standing.care.auc_interval.by_group, [place, place], color=colour)
            axes.plot([standing.care.auc], [place], "o", color=colour, markersize=4.5)
        axes.axvline(0.5, color=_MUTED, linestyle=":")
        axes.set_yticks(range(len(standings)), [standing.name for standing in reversed(standings)])
        axes.set(xlabel="AUC of needs-care, 95 % by group", ylim=(-0.6, len(standings) - 0.4))
        return _svg(figure, "auc", "AUC of needs-care of each router with 95 % intervals")


def reliability_plot(head: Head, report: HeadReport) -> str:
    """Draw accuracy against confidence; a dot's area grows with its rows."""
    with rc_context(_STYLE):
        figure, axes = _figure(2.9, width=3.2)
        axes.plot([0, 1], [0, 1], color=_MUTED, linestyle=":")
        bins = report.reliability
        largest = max((b.n_rows for b in bins), default=1)
        axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], color=_SERIES[0])
        sizes = [10 + 90 * b.n_rows / largest for b in bins]
        axes.scatter([b.confidence for b in bins], [b.accuracy for b in bins], s=sizes, color=_SERIES[0], zorder=3)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", title=head)
        return _svg(figure, f"reliability-{head}", f"Reliability of {head}: accuracy against confidence")


def flips_plot(flips: Sequence[FlipReport]) -> str:
    """Draw the share of decisions that flip under each change, with the target."""
    with rc_context(_STYLE):
        figure, axes = _figure(0.8 + 0.26 * len(flips))
        for place, result in enumerate(reversed(flips)):
            colour = _SERIES[0] if result.within_target else _SERIES[3]
            axes.barh(place, 100 * result.care_flips, color=colour, height=0.6)
            axes.plot([100 * end for end in result.care_flips_interval], [place, place], color=_INK, linewidth=0.9)
        axes.axvline(100 * TARGET, color=_INK, linestyle=":")
        axes.set_yticks(range(len(flips)), [result.name for result in reversed(flips)])
        axes.set(xlabel="decisions that change sides, %", xlim=(0, None))
        return _svg(figure, "flips", "Share of decisions that change sides under each change of form")


def _figure(height: float, *, width: float = _WIDTH) -> tuple[Figure, Axes]:
    # Made without pyplot: no global state, no window system.
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _svg(figure: Figure, name: str, label: str) -> str:
    """Write a figure as an SVG element for a page: ids of its own, no metadata, the page's colours."""
    written = io.StringIO()
    empty: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(written, format="svg", metadata=empty)
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    # The page sizes and names the drawing; matplotlib's own size would win over it on a phone.
    text = re.sub(
        r'<svg ([^>]*?)width="[\d.]+pt" height="[\d.]+pt"|<svg ', lambda m: f"<svg {m[1] or ''}", text, count=1
    )
    text = text.replace("<svg ", f'<svg class="plot" role="img" aria-label="{label}" ', 1)
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, f"var({variable})")
    return text

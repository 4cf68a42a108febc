"""A report as one self-contained HTML page: no scripts, no requests, readable on a phone, light and dark."""

from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pointsman.classifier.labels import HEADS

from .evaluate import MIN_ROWS, PRICE_RATIO, SHARES
from .report import FullReport
from .report_plots import auc_plot, cost_risk_plot, flips_plot, reliability_plot
from .report_tables import decimal, markdown, percent, span
from .robustness import TARGET

_TEMPLATE: Final = "report.html"


def page(full: FullReport) -> str:
    """Write a report as HTML."""
    environment = Environment(
        loader=PackageLoader("pointsman.training"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"percent": percent, "decimal": decimal, "span": span}
    flips = [*full.perturbations, *full.pairs]
    return environment.get_template(_TEMPLATE).render(
        full=full,
        report=full.report,
        standings=full.comparison.standings,
        skipped=full.comparison.skipped,
        flips=flips,
        heads=HEADS,
        min_rows=MIN_ROWS,
        price_ratio=PRICE_RATIO,
        shares=[f"{share:.0%}" for share in SHARES],
        target=TARGET,
        markdown=markdown(full),
        plots={
            "cost_risk": Markup(cost_risk_plot(full.comparison.standings)),  # noqa: S704 - our own drawing
            "auc": Markup(auc_plot(full.comparison.standings)),  # noqa: S704
            "flips": Markup(flips_plot(flips)),  # noqa: S704
            "reliability": [
                Markup(reliability_plot(head, result))  # noqa: S704
                for head, result in full.report.heads.items()
            ],
        },
    )

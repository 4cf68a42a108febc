"""Plots of one head for the tracking run, as matplotlib figures."""

import numpy as np
from matplotlib.figure import Figure

from pointsman.classifier.labels import HEADS, Head

from .evaluate import HeadReport


def reliability_figure(head: Head, report: HeadReport) -> Figure:
    """Draw accuracy against confidence; a dot's area grows with its rows."""
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    confidence, right = [b.confidence for b in report.reliability], [b.accuracy for b in report.reliability]
    largest = max((b.n_rows for b in report.reliability), default=1)
    axes.plot(confidence, right)
    axes.scatter(confidence, right, s=[10 + 90 * b.n_rows / largest for b in report.reliability])
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", title=f"{head}, ECE {report.ece:.3f}")
    return figure


def confusion_figure(head: Head, report: HeadReport) -> Figure:
    """Draw how often each true label (rows) was given each label (columns); shade is the share of the row."""
    counts = np.array(report.confusion)
    labels = HEADS[head]
    figure = Figure(figsize=(2 + 0.45 * len(labels), 1.6 + 0.45 * len(labels)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts > 0):
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="given", ylabel="true", title=head)
    return figure

"""Where cases come from: sources that every installed package registers, as it does its commands.

The record store is `serving`'s and labelled files are `training`'s; neither may be imported here.
"""

from __future__ import annotations

import argparse
from importlib import metadata
from typing import Final, Protocol

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import InputError
from pointsman.classifier.policy_file import Policy

from .case import Log

GROUP: Final = "pointsman.turns"


class Source(Protocol):
    """One place that turns can be read from."""

    option: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add `option` and what belongs to it."""

    def is_asked(self, args: argparse.Namespace) -> bool:
        """Say whether `option` was given."""

    def read(self, args: argparse.Namespace, catalog: Catalog, policy: Policy) -> Log:
        """Read the turns; the policy says what a turn adds to a context that nobody recorded."""


def add_source_arguments(parser: argparse.ArgumentParser, *, only: str | None = None) -> tuple[Source, ...]:
    """Add the options of all sources, or of the one with this option, and return the sources."""
    points = sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name)
    found: list[Source] = [point.load()() for point in points]
    sources = tuple(source for source in found if only in (None, source.option))
    for source in sources:
        source.add_arguments(parser)
    return sources


def read_log(sources: tuple[Source, ...], args: argparse.Namespace, catalog: Catalog, policy: Policy) -> Log:
    """Read the source that was asked for.

    Raises
    ------
    InputError
        None or several were asked for, or there are no turns in it.
    """
    asked = [source for source in sources if source.is_asked(args)]
    if len(asked) != 1:
        options = " or ".join(source.option for source in sources)
        found = " and ".join(source.option for source in asked) or "none of them"
        raise InputError(f"found {found}; expected {options}. Say where to read turns from.")
    log = asked[0].read(args, catalog, policy)
    if not log.turns:
        raise InputError(f"{log.about}: found no turn that was weighed; expected at least one. Choose other turns.")
    return log

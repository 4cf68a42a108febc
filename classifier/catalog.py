"""The models one may choose from: what they accept, what they cost, how often they fail, and who says so.

A catalogue file is checked whole before any of it is used; the first mistake stops the start with its file, line
and field. Shipped profiles stand in `profiles/`; they share the rows of `profiles/library.yaml`, so that a price
is written once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, Self

from . import config_file
from .assessment import CAPABILITIES
from .config_file import Section
from .costs import OVERALL, Evidence, Family, PriceTier, failure_rates
from .errors import ConfigError
from .labels import CATEGORIES

PROFILES: Final = Path(__file__).parent / "profiles"
LIBRARY: Final = "library"
#: What a gateway cannot make up for. The rest of `CAPABILITIES` it can drop or rewrite: thinking style and effort.
HARD: Final = frozenset({"tools", "images", "documents", "mid_system", "structured_output"})
ROLES: Final = ("careful", "cheap", "background", "default")

_TOP: Final = ("library", "back_off_trials", "families", "models", "roles")
#: Fields of a row that an assumption may stand behind, and that `assumed` then names.
_FIGURES: Final = ("context", "input_max", "max_output", "prices", "capabilities", "cache_ttl_s", "name")
_ROW: Final = ("like", "provider", "family", *_FIGURES, "as_of", "source", "assumed", "evidence")
_ASSUMABLE: Final = (*_FIGURES, "cache_read", "cache_write")
_PRICE: Final = ("up_to", "input", "output", "cache_read", "cache_write")
_EVIDENCE: Final = ("category", "successes", "trials", "weight", "source", "date")
_FAMILY: Final = ("name", "failure", "trials", "source", "evidence")
_WHERE: Final = (OVERALL, *CATEGORIES)


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the catalogue.

    Attributes
    ----------
    context : int
        Tokens of input and output together, as *served*: not what the weights could do.
    input_max : int
        Tokens of input alone; equal to `context` where the provider states no lower limit.
    max_output : int
        Tokens.
    tiers : tuple of PriceTier
        By size of the input, smallest first; the last one has no upper end.
    as_of, source
        When and where the row's figures were read.
    assumed : tuple of str
        Fields of the row that no source backs.
    capabilities : frozenset of str
        Out of `CAPABILITIES`; what is not known to work is not claimed.
    failure : tuple of float
        P(fail) per category, in label order.
    cache_ttl_s : float
        How long the provider keeps a prompt cache, in seconds after its last use.
    """

    name: str
    provider: str
    family: str
    context: int
    input_max: int
    max_output: int
    tiers: tuple[PriceTier, ...]
    as_of: date
    source: str
    assumed: tuple[str, ...]
    capabilities: frozenset[str]
    evidence: tuple[Evidence, ...]
    failure: tuple[float, ...]
    cache_ttl_s: float

    def tier(self, input_tokens: float) -> PriceTier:
        """Return the prices of a request with this much input."""
        for tier in self.tiers:
            if tier.up_to is None or input_tokens <= tier.up_to:
                return tier
        return self.tiers[-1]

    def obstacle(self, needs: frozenset[str], input_tokens: float, output_tokens: float) -> str | None:
        """Say why a request cannot go to this model, as a clause; None when it can."""
        if not needs <= self.capabilities:
            missing = (needs & HARD) - self.capabilities
            if missing:
                return f"which is not known to take {', '.join(sorted(missing))}"
        if input_tokens > self.input_max or input_tokens + min(output_tokens, self.max_output) > self.context:
            return f"whose window of {self.input_max} tokens is too small"
        return None


@dataclass(frozen=True, slots=True)
class Catalog:
    """Models, and the roles a policy speaks of.

    Attributes
    ----------
    roles : mapping of str to tuple of str
        Every name of `ROLES` to model names, best liked first; `background` and `default` name one model.
    version : str
        Name and digest of the content.
    path : str
        The file it was read from, for messages.
    """

    name: str
    models: tuple[Model, ...]
    families: tuple[Family, ...]
    roles: Mapping[str, tuple[str, ...]]
    version: str
    path: str = ""
    by_name: Mapping[str, Model] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Read and check a catalogue.

        Parameters
        ----------
        source : str or Path
            A shipped profile's name (`profile_names`) or a YAML file.

        Raises
        ------
        ConfigError
            The file is missing or wrong; the message names file, line and field.
        """
        path = config_file.find(source, None, PROFILES)
        if path is None:
            problem = f"found no such file; expected a path, or one of {', '.join(profile_names())}. Check the name."
            raise ConfigError(source, None, "catalogue", problem)
        top = config_file.read(path)
        top.allow(_TOP)
        rows, families, back_off = _library(top)
        families |= _families(top)
        models = {}
        for section in top.sections("models"):
            model = _model(_like(section, rows), families, back_off)
            if model.name in models:
                raise section.error("name", f"found {model.name!r} twice; expected one row. Remove or rename it.")
            models[model.name] = model
        roles = _roles(top.section("roles"), models)
        used = {model.family for model in models.values()}
        kept = tuple(family for name, family in families.items() if name in used)
        content = [asdict(model) | {"capabilities": sorted(model.capabilities)} for model in models.values()]
        version = f"{path.stem}:{config_file.digest(content, roles)}"
        return cls(path.stem, tuple(models.values()), kept, roles, version, str(path), models)

    def model(self, name: str) -> Model | None:
        """Return the row of this name, if there is one."""
        return self.by_name.get(name)

    def rank(self, name: str) -> int:
        """Return 2 for a careful model, 0 for a cheap one, 1 for one without either role."""
        if name in self.roles["careful"]:
            return 2
        return 0 if name in self.roles["cheap"] else 1

    def candidates(self, names: Collection[str] | None = None) -> tuple[Model, ...]:
        """Return the models to weigh: those allowed, or without an allow-list the careful and cheap ones."""
        if names is not None:
            return tuple(model for model in self.models if model.name in names)
        return tuple(self.by_name[name] for name in (*self.roles["careful"], *self.roles["cheap"]))


def profile_names() -> tuple[str, ...]:
    """Return the names of the shipped profiles."""
    return tuple(name for name in config_file.shipped(PROFILES) if name != LIBRARY)


def _library(top: Section) -> tuple[dict[str, Section], dict[str, Family], float]:
    """Read the rows and families a file builds upon, and the back-off strength that goes with them."""
    if "library" not in top:
        return {}, {}, top.number("back_off_trials", least=0.1)
    path = config_file.find(top.text("library"), top.path.parent, PROFILES)
    if path is None:
        raise top.error("library", f"found no such file; expected a path, or {LIBRARY!r}, which ships. Check the name.")
    library = config_file.read(path)
    library.allow(("back_off_trials", "families", "models"))
    rows = {section.text("name"): section for section in library.sections("models")}
    over = top.over(library)
    return rows, _families(library), over.number("back_off_trials", least=0.1)


def _like(section: Section, rows: Mapping[str, Section]) -> Section:
    section.allow(_ROW)
    if "like" not in section:
        return section
    return section.over(rows[section.text("like", among=tuple(rows))])


def _model(row: Section, families: Mapping[str, Family], back_off: float) -> Model:
    context = row.integer("context", least=1)
    family = families[row.text("family", among=tuple(families))]
    evidence = _evidence(row)
    input_max = row.integer("input_max", least=1) if "input_max" in row else context
    if input_max > context:
        raise row.error("input_max", f"found {input_max}; expected at most the context, {context}. Correct one.")
    return Model(
        name=row.text("name"),
        provider=row.text("provider"),
        family=family.name,
        context=context,
        input_max=input_max,
        max_output=row.integer("max_output", least=1),
        tiers=_tiers(row),
        as_of=row.day("as_of"),
        source=row.text("source"),
        assumed=row.texts("assumed", among=_ASSUMABLE) if "assumed" in row else (),
        capabilities=frozenset(row.texts("capabilities", among=CAPABILITIES)),
        evidence=evidence,
        failure=failure_rates(family, evidence, back_off),
        cache_ttl_s=row.number("cache_ttl_s"),
    )


def _tiers(row: Section) -> tuple[PriceTier, ...]:
    sections = tuple(row.sections("prices"))
    if not sections:
        raise row.error("prices", "found an empty list; expected at least one tier. Add '- {input: …, output: …}'.")
    tiers = []
    floor = 0
    for section in sections:
        section.allow(_PRICE)
        last = section is sections[-1]
        if last and "up_to" in section:
            raise section.error("up_to", "found an end to the last tier; expected none. Remove it: input_max ends it.")
        up_to = None if last else section.integer("up_to", least=floor + 1)
        floor = up_to or floor
        paid = section.number("input")
        # Without a published cache price every token is paid in full, each time.
        read = section.number("cache_read") if "cache_read" in section else paid
        write = section.number("cache_write") if "cache_write" in section else paid
        tiers.append(PriceTier(up_to, paid, section.number("output"), read, write))
    return tuple(tiers)


def _evidence(section: Section) -> tuple[Evidence, ...]:
    if "evidence" not in section:
        return ()
    rows = []
    for row in section.sections("evidence"):
        row.allow(_EVIDENCE)
        trials = row.number("trials")
        successes = row.number("successes", most=trials)
        weight = row.number("weight", most=1.0) if "weight" in row else 1.0
        category = row.text("category", among=_WHERE)
        rows.append(Evidence(category, successes, trials, weight, row.text("source"), row.day("date")))
    return tuple(rows)


def _families(top: Section) -> dict[str, Family]:
    if not top.own("families"):
        return {}
    families = {}
    for section in top.sections("families"):
        section.allow(_FAMILY)
        rates = section.section("failure")
        rates.allow(_WHERE)
        # Neither 0 nor 1: a prior that sure could not be moved by any evidence.
        failure = {name: rates.number(name, least=0.001, most=0.999) for name in (OVERALL, *rates.names())}
        name = section.text("name")
        trials = section.number("trials", least=0.1)
        families[name] = Family(name, failure, trials, section.text("source"), _evidence(section))
    return families


def _roles(section: Section, models: Mapping[str, Model]) -> dict[str, tuple[str, ...]]:
    section.allow(ROLES)
    roles = {name: section.texts(name, among=tuple(models)) for name in ROLES}
    for name in ("background", "default"):
        if len(roles[name]) != 1:
            raise section.error(name, f"found {len(roles[name])} models; expected one. Name one.")
    for name in ("careful", "cheap"):
        if not roles[name]:
            raise section.error(name, "found an empty list; expected a model. Name at least one.")
    both = set(roles["careful"]) & set(roles["cheap"])
    if both:
        raise section.error("cheap", f"found {min(both)!r}, which is careful too; expected one of the two. Remove one.")
    return roles

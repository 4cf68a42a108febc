"""The models one may choose from: what they accept, what they cost, how often they fail, and who says so.

A catalogue file is checked whole before any of it is used; the first mistake stops the start with its file, line
and field. Shipped profiles stand in `profiles/`; they share the rows of `profiles/library.yaml`, so that a price
is written once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from . import config_file
from .assessment import CAPABILITIES
from .config_file import Section
from .costs import PriceTier
from .errors import ConfigError
from .evidence import OVERALL, Evidence, Family, Posterior, Setting, Tallies, posterior_of
from .labels import CATEGORIES, SCOPES

PROFILES: Final = Path(__file__).parent / "profiles"
LIBRARY: Final = "library"
#: What a gateway cannot make up for. The rest of `CAPABILITIES` it can drop or rewrite: thinking style and effort.
HARD: Final = frozenset({"tools", "images", "documents", "mid_system", "structured_output"})
ROLES: Final = ("careful", "cheap", "background", "default")
#: What a model is trusted with. The risk bound keeps cheap ones from turns that need care.
Tier = Literal["careful", "standard", "cheap"]
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
_RANKS: Final[Mapping[str, int]] = {"careful": 2, "standard": 1, "cheap": 0}

_WEIGHING: Final = ("back_off_trials", "half_life_days", "currencies")
_TOP: Final = ("library", *_WEIGHING, "families", "models", "roles")
#: Fields of a row that an assumption may stand behind, and that `assumed` then names.
_FIGURES: Final = ("context", "input_max", "max_output", "prices", "capabilities", "cache_ttl_s", "name")
_ROW: Final = (
    *("like", "provider", "family", *_FIGURES, "as_of", "source", "assumed", "evidence"),
    *("tier", "efforts", "residency", "currency"),
)
_ASSUMABLE: Final = (*_FIGURES, "cache_read", "cache_write")
_PRICE: Final = ("up_to", "input", "output", "cache_read", "cache_write")
_EVIDENCE: Final = ("category", "successes", "trials", "weight", "source", "date")
_FAMILY: Final = ("name", "failure", "trials", "source", "evidence", "scope_odds")
_EFFORT: Final = ("name", "output", "failure_odds", "source")
_CURRENCY: Final = ("name", "usd", "as_of", "source")
_WHERE: Final = (OVERALL, *CATEGORIES)
#: Where a catalogue names no other.
_HALF_LIFE_DAYS: Final = 365.0


@dataclass(frozen=True, slots=True)
class Effort:
    """One effort a model can be asked for.

    Attributes
    ----------
    output : float
        Times the output tokens that the policy expects of a turn.
    failure_odds : float
        Times the odds of failing that the evidence gives.
    """

    name: str
    output: float
    failure_odds: float
    source: str


@dataclass(frozen=True, slots=True)
class Currency:
    """What one unit of a currency is worth in USD, on one day."""

    name: str
    usd: float
    as_of: date
    source: str


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
        In USD, by size of the input, smallest first; the last one has no upper end.
    as_of, source
        When and where the row's figures were read.
    assumed : tuple of str
        Fields of the row that no source backs.
    capabilities : frozenset of str
        Out of `CAPABILITIES`; what is not known to work is not claimed.
    posterior : Posterior
        What evidence and outcomes say of its failures.
    cache_ttl_s : float
        How long the provider keeps a prompt cache, in seconds after its last use.
    tier : str
        Out of `TIERS`: what a role says (`careful`, `cheap`), else what the row says, else `standard`.
    efforts : tuple of Effort
        Empty where the effort is left to the client.
    residency : frozenset of str
        Places where the provider processes data; empty where that is not known.
    currency : str
        Of the row; its prices are converted.
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
    posterior: Posterior
    cache_ttl_s: float
    tier: Tier = "standard"
    efforts: tuple[Effort, ...] = ()
    residency: frozenset[str] = frozenset()
    currency: str = "USD"

    @property
    def failure(self) -> tuple[float, ...]:
        """P(fail) per category in label order, for turns of middling scope."""
        return tuple(cell.mean for cell in self.posterior.categories)

    def prices(self, input_tokens: float) -> PriceTier:
        """Return the prices of a request with this much input."""
        for tier in self.tiers:
            if tier.up_to is None or input_tokens <= tier.up_to:
                return tier
        return self.tiers[-1]

    def obstacle(self, needs: frozenset[str], input_tokens: float, output_tokens: float) -> tuple[str, str] | None:
        """Say why a request cannot go to this model, as a code and a clause; None when it can."""
        if not needs <= self.capabilities:
            missing = (needs & HARD) - self.capabilities
            if missing:
                return "capability", f"which is not known to take {', '.join(sorted(missing))}"
        if input_tokens > self.input_max or input_tokens + min(output_tokens, self.max_output) > self.context:
            return "window", f"whose window of {self.input_max} tokens is too small"
        return None


@dataclass(frozen=True, slots=True)
class Catalog:
    """Models, and the roles a policy speaks of.

    Attributes
    ----------
    roles : mapping of str to tuple of str
        Every name of `ROLES` to model names, best liked first; `background` and `default` name one model.
    setting : Setting
        How the evidence was weighed, and as of which day.
    version : str
        Name and digest of the content, and of the outcomes where some were counted.
    path : str
        The file it was read from, for messages.
    files : tuple of Path
        Everything it was read from.
    currencies : tuple of Currency
        Rates its prices were converted at.
    rates : float array, shape (n_models, n_categories * n_scopes)
        P(fail) of all models, in their order: one product weighs them all.
    """

    name: str
    models: tuple[Model, ...]
    families: tuple[Family, ...]
    roles: Mapping[str, tuple[str, ...]]
    setting: Setting
    version: str
    path: str = ""
    files: tuple[Path, ...] = ()
    currencies: tuple[Currency, ...] = ()
    by_name: Mapping[str, Model] = field(init=False, repr=False, compare=False)
    rates: npt.NDArray[np.float64] = field(init=False, repr=False, compare=False)
    places: Mapping[str, int] = field(init=False, repr=False, compare=False)
    weighed: tuple[Model, ...] = field(init=False, repr=False, compare=False)
    weighed_names: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        object.__setattr__(self, "by_name", dict(zip(names, self.models, strict=True)))
        object.__setattr__(self, "places", {name: i for i, name in enumerate(names)})
        weighed = tuple(self.by_name[name] for name in (*self.roles["careful"], *self.roles["cheap"]))
        object.__setattr__(self, "weighed", weighed)
        object.__setattr__(self, "weighed_names", frozenset(model.name for model in weighed))
        object.__setattr__(self, "rates", np.array([model.posterior.rates for model in self.models]))

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
        library = _library(top)
        shared = top if library is None else top.over(library)
        families = ({} if library is None else _families(library)) | _families(top)
        currencies = _currencies(shared)
        rows = {} if library is None else {row.text("name"): row for row in library.sections("models")}
        sections = [_like(section, rows) for section in top.sections("models")]
        setting = Setting(
            shared.number("back_off_trials", least=0.1),
            shared.number("half_life_days", least=1) if "half_life_days" in shared else _HALF_LIFE_DAYS,
            # Not today: the same files give the same figures on every day.
            max((section.day("as_of") for section in sections), default=date.min),
        )
        read: dict[str, Model] = {}
        for section in sections:
            model = _model(section, families, setting, currencies)
            if model.name in read:
                raise section.error("name", f"found {model.name!r} twice; expected one row. Remove or rename it.")
            read[model.name] = model
        roles = _roles(top.section("roles"), read)
        models = tuple(replace(model, tier=_tier(model, roles)) for model in read.values())
        used = {model.family for model in models}
        kept = tuple(family for name, family in families.items() if name in used)
        version = f"{path.stem}:{config_file.digest([_plain(model) for model in models], roles)}"
        files = (path,) if library is None else (path, library.path)
        paid_in = tuple(currency for currency in currencies.values() if currency.name != "USD")
        return cls(path.stem, models, kept, roles, setting, version, str(path), files, paid_in)

    def with_outcomes(self, outcomes: Mapping[str, Tallies], as_of: date) -> Self:
        """Return the catalogue with its failure rates moved by one's own outcomes.

        Parameters
        ----------
        outcomes : mapping of str to sequence of Tally
            Per model, per category in label order, aged to `as_of`. Models it lacks keep their evidence alone.
        as_of : date
            Published evidence ages to this day, too.
        """
        families = {family.name: family for family in self.families}
        setting = replace(self.setting, as_of=max(as_of, self.setting.as_of))
        models = tuple(
            replace(
                model,
                posterior=posterior_of(families[model.family], model.evidence, setting, outcomes.get(model.name)),
            )
            for model in self.models
        )
        counted = {name: [asdict(tally) for tally in tallies] for name, tallies in sorted(outcomes.items())}
        version = f"{self.version.partition('+')[0]}+{config_file.digest(counted, setting.as_of)}"
        return replace(self, models=models, setting=setting, version=version)

    def model(self, name: str) -> Model | None:
        """Return the row of this name, if there is one."""
        return self.by_name.get(name)

    def rank(self, name: str) -> int:
        """Return 2 for a careful model, 0 for a cheap one, 1 for a standard or unknown one."""
        model = self.by_name.get(name)
        return 1 if model is None else _RANKS[model.tier]

    def candidates(self, names: Collection[str] | None = None) -> tuple[Model, ...]:
        """Return the models to weigh: those allowed, or without an allow-list the careful and cheap ones."""
        if names is not None:
            return tuple(model for model in self.models if model.name in names)
        return self.weighed


def profile_names() -> tuple[str, ...]:
    """Return the names of the shipped profiles."""
    return tuple(name for name in config_file.shipped(PROFILES) if name != LIBRARY)


def _library(top: Section) -> Section | None:
    """Read the file whose rows, families and settings a catalogue builds upon."""
    if "library" not in top:
        return None
    path = config_file.find(top.text("library"), top.path.parent, PROFILES)
    if path is None:
        raise top.error("library", f"found no such file; expected a path, or {LIBRARY!r}, which ships. Check the name.")
    library = config_file.read(path)
    library.allow((*_WEIGHING, "families", "models"))
    return library


def _plain(model: Model) -> dict[str, object]:
    """Return what makes a model's version."""
    return asdict(model) | {"capabilities": sorted(model.capabilities), "residency": sorted(model.residency)}


def _tier(model: Model, roles: Mapping[str, tuple[str, ...]]) -> Tier:
    """A role says more than a row, which may come from a library that knows nothing of this team."""
    if model.name in roles["careful"]:
        return "careful"
    return "cheap" if model.name in roles["cheap"] else model.tier


def _like(section: Section, rows: Mapping[str, Section]) -> Section:
    section.allow(_ROW)
    if "like" not in section:
        return section
    return section.over(rows[section.text("like", among=tuple(rows))])


def _model(row: Section, families: Mapping[str, Family], setting: Setting, currencies: Mapping[str, Currency]) -> Model:
    context = row.integer("context", least=1)
    family = families[row.text("family", among=tuple(families))]
    evidence = _evidence(row)
    currency = row.text("currency", among=tuple(currencies)) if "currency" in row else "USD"
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
        tiers=_tiers(row, currencies[currency].usd),
        as_of=row.day("as_of"),
        source=row.text("source"),
        assumed=row.texts("assumed", among=_ASSUMABLE) if "assumed" in row else (),
        capabilities=frozenset(row.texts("capabilities", among=CAPABILITIES)),
        evidence=evidence,
        posterior=posterior_of(family, evidence, setting),
        cache_ttl_s=row.number("cache_ttl_s"),
        tier=_named_tier(row),
        efforts=_efforts(row),
        residency=frozenset(row.texts("residency")) if "residency" in row else frozenset(),
        currency=currency,
    )


def _named_tier(row: Section) -> Tier:
    found = row.text("tier", among=TIERS) if "tier" in row else "standard"
    return next(tier for tier in TIERS if tier == found)


def _efforts(row: Section) -> tuple[Effort, ...]:
    if "efforts" not in row:
        return ()
    if "effort" not in row.texts("capabilities"):
        raise row.error("efforts", "found efforts of a model that takes none; expected the capability. Add 'effort'.")
    efforts = []
    for section in row.sections("efforts"):
        section.allow(_EFFORT)
        odds = section.number("failure_odds", least=0.01, most=100)
        efforts.append(Effort(section.text("name"), section.number("output"), odds, section.text("source")))
    return tuple(efforts)


def _currencies(top: Section) -> dict[str, Currency]:
    found = {"USD": Currency("USD", 1.0, date.min, "itself")}
    if "currencies" not in top:
        return found
    for section in top.sections("currencies"):
        section.allow(_CURRENCY)
        name = section.text("name")
        usd = section.number("usd", least=1e-9)
        found[name] = Currency(name, usd, section.day("as_of"), section.text("source"))
    return found


def _tiers(row: Section, usd: float) -> tuple[PriceTier, ...]:
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
        tiers.append(PriceTier(up_to, paid * usd, section.number("output") * usd, read * usd, write * usd))
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
        families[name] = Family(name, failure, trials, section.text("source"), _evidence(section), _scope_odds(section))
    return families


def _scope_odds(section: Section) -> tuple[float, ...]:
    if "scope_odds" not in section:
        return (1.0,) * len(SCOPES)
    odds = section.section("scope_odds")
    odds.allow(SCOPES)
    return tuple(odds.number(scope, least=0.01, most=100) if scope in odds else 1.0 for scope in SCOPES)


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

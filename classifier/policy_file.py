"""A policy as a person writes it: what a mistake costs, how a session is treated, what a turn sends and receives.

Checked whole when it is read, and against a catalogue by `Policy.check`. What follows from it is `policy`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import mul
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from . import config_file
from .assessment import Assessment, Turn
from .catalog import ROLES, Catalog
from .config_file import Section
from .costs import Load
from .errors import ConfigError
from .labels import CATEGORIES, RISKS, SCOPES
from .limits import UNLIMITED, Caller, Limits, paths_in
from .rules import Explore, PinnedPath, Rule, landed, pinned, read_explore, read_paths, read_rules, tightest
from .session import Stage

POLICIES: Final = Path(__file__).parent / "policies"

_TOP: Final = (
    *("extends", "loss_usd", "scale", "models", "session", "turn", "reserve_output_tokens", "novelty_weight"),
    *("max_missed", "enforce_risk_bound", "user_override", "rules", "paths", "spent_budget_weight", "explore"),
)
_LOSS: Final = (*RISKS, "source")
_MODELS: Final = ("default", "background", "escalate_to")
_SESSION: Final = (
    "new_task_probability",
    "follow_up_margin",
    "task_memory",
    "coherence_usd",
    "escalate_after",
    "correction_trials",
    "prior_trials",
    "source",
)
_TURN: Final = (*SCOPES, "categories", "source")
_SIZE: Final = ("requests", "output_tokens", "growth_tokens")
#: Where a policy names none: the promise that every bundle before format 2 was asked for.
DEFAULT_MAX_MISSED: Final = 0.02
#: Fields that say what a policy is, not what it says.
_ABOUT: Final = ("version", "path", "lines", "files", "load_table")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a mistake costs here, and how a session is treated.

    Attributes
    ----------
    loss_usd : tuple of float
        What a close-but-wrong answer costs at each risk, low to high, the preset's scale applied.
    models : mapping of str to str
        `default`, `background` and `escalate_to`: each a role of the catalogue or a model of it.
    new_task_probability : float
        From this P(turn = new) on a turn counts as a task's beginning, where a session may go down.
    follow_up_margin : float
        Share of its own expected cost a model must be beaten by to lose a follow-up to a more careful one.
    task_memory : float
        How much of a follow-up's stakes are those of the turn before it, when it surely begins no new task.
    coherence_usd : float
        What changing the model inside a session costs beside its cache.
    escalate_after : int
        Corrections in a row after which the careful model takes over.
    correction_trials, prior_trials : float
        One correction counts as so many failed trials, beside so many that the catalogue's rate counts for.
    loads : tuple of Load
        What one user turn sends and receives, per scope.
    category_loads : tuple of (float, float, float)
        Times the requests, output and growth of the scope, per category.
    learned_loads : tuple of Load
        By category, then scope, in place of the two above; empty until they are learned from records.
    reserve_output_tokens : int
        Room kept for the answer. What clients ask for says nothing: Claude Code reserves 128000 for a title.
    novelty_weight : float
        How much of the distribution becomes uniform when a text is wholly unlike the training data.
    max_missed : float
        Of the turns that need care, the largest share that may go to a cheap model: of the bundle's promises the
        policy keeps to the widest that is no wider.
    enforce_risk_bound : bool
        Whether that promise stands above prices.
    user_override : bool
        Whether a person may name a model or a policy, in a header or in the prompt.
    rules : tuple of Rule
        Per project, team or key.
    paths : tuple of PinnedPath
        Paths that raise the risk of turns that mention them.
    spent_budget_weight : float
        How much a dollar counts when a budget is spent; it grows up to there from the share where landing begins.
    explore : Explore or None
        Thompson sampling; off when None.
    version : str
        Name and digest of the content.
    load_table : float array, shape (n_categories * n_scopes, 4)
        Requests, output, growth and regrown tokens.
    """

    name: str
    loss_usd: tuple[float, ...]
    models: Mapping[str, str]
    new_task_probability: float
    follow_up_margin: float
    task_memory: float
    coherence_usd: float
    escalate_after: int
    correction_trials: float
    prior_trials: float
    loads: tuple[Load, ...]
    reserve_output_tokens: int
    novelty_weight: float
    category_loads: tuple[tuple[float, float, float], ...] = ((1.0, 1.0, 1.0),) * len(CATEGORIES)
    learned_loads: tuple[Load, ...] = ()
    max_missed: float = DEFAULT_MAX_MISSED
    enforce_risk_bound: bool = True
    user_override: bool = True
    rules: tuple[Rule, ...] = ()
    paths: tuple[PinnedPath, ...] = ()
    spent_budget_weight: float = 4.0
    explore: Explore | None = None
    version: str = ""
    path: str = field(default="", compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
    files: tuple[Path, ...] = field(default=(), compare=False)
    load_table: npt.NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = self.learned_loads or [load.scaled(*times) for times in self.category_loads for load in self.loads]
        table = [(row.requests, row.output_tokens, row.growth_tokens, row.regrown_tokens) for row in rows]
        object.__setattr__(self, "load_table", np.array(table))

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Read and check a policy.

        Parameters
        ----------
        source : str or Path
            A preset's name (`policy_names`) or a YAML file.

        Raises
        ------
        ConfigError
            The file is missing or wrong; the message names file, line and field.
        """
        path = config_file.find(source, None, POLICIES)
        if path is None:
            problem = f"found no such file; expected a path, or one of {', '.join(policy_names())}. Check the name."
            raise ConfigError(source, None, "policy", problem)
        top, files = _with_bases(config_file.read(path), (path,))
        loss = _checked(top.section("loss_usd"), _LOSS)
        session = _checked(top.section("session"), _SESSION)
        models = _checked(top.section("models"), _MODELS)
        scale = top.number("scale", least=0.001)
        turn = _checked(top.section("turn"), _TURN)
        policy = cls(
            name=path.stem,
            loss_usd=_losses(loss, scale),
            models={name: models.text(name) for name in _MODELS},
            new_task_probability=session.number("new_task_probability", most=1.0),
            follow_up_margin=session.number("follow_up_margin"),
            task_memory=session.number("task_memory", most=1.0),
            coherence_usd=session.number("coherence_usd"),
            escalate_after=session.integer("escalate_after", least=1),
            correction_trials=session.number("correction_trials"),
            prior_trials=session.number("prior_trials", least=0.1),
            loads=_loads(turn),
            category_loads=_category_loads(turn),
            reserve_output_tokens=top.integer("reserve_output_tokens"),
            novelty_weight=top.number("novelty_weight", most=1.0),
            max_missed=top.number("max_missed", most=1.0) if "max_missed" in top else DEFAULT_MAX_MISSED,
            enforce_risk_bound=top.flag("enforce_risk_bound") if "enforce_risk_bound" in top else True,
            user_override=top.flag("user_override") if "user_override" in top else True,
            rules=read_rules(top),
            paths=read_paths(top),
            spent_budget_weight=(top.number("spent_budget_weight", least=1.0) if "spent_budget_weight" in top else 4.0),
            explore=read_explore(top),
            path=str(path),
            lines={name: models.line_of(name) for name in _MODELS},
            files=files,
        )
        return replace(policy, version=f"{path.stem}:{policy.digest()}")

    def digest(self) -> str:
        """Return twelve hex digits that change when what the policy says does."""
        return config_file.digest({name: value for name, value in asdict(self).items() if name not in _ABOUT})

    def with_loads(self, loads: Sequence[Load]) -> Self:
        """Return the policy with what turns send and receive as it was learned, by category, then scope."""
        learned = replace(self, learned_loads=tuple(loads))
        return replace(learned, version=f"{self.version.partition('+')[0]}+{learned.digest()}")

    def check(self, catalog: Catalog) -> None:
        """Make sure the catalogue has every role and model this policy names.

        Raises
        ------
        ConfigError
            It lacks one.
        """
        for use, name in self.models.items():
            if name not in catalog.roles and catalog.model(name) is None:
                known = ", ".join((*ROLES, *catalog.by_name))
                problem = f"found {name!r}; expected a role or a model of the catalogue ({known}). Name one of these."
                raise ConfigError(self.path or self.name, self.lines.get(use), f"models.{use}", problem)
        for i, rule in enumerate(self.rules):
            for name in (*(rule.allow or ()), *rule.deny):
                if name not in catalog.roles and catalog.model(name) is None:
                    known = ", ".join((*ROLES, *catalog.by_name))
                    problem = f"found {name!r}; expected a role or a model of the catalogue ({known}). Correct it."
                    raise ConfigError(self.path or self.name, None, f"rules[{i}]", problem)
            if not _left_by(rule, catalog):
                problem = (
                    "found no model of the catalogue that it leaves; expected one. Correct allow, deny or residency."
                )
                raise ConfigError(self.path or self.name, None, f"rules[{i}]", problem)

    def rules_for(self, caller: Caller) -> tuple[Rule, ...]:
        """Return the rules that hold for a caller."""
        return tuple(rule for rule in self.rules if rule.holds_for(caller)) if self.rules else ()

    def limits(
        self,
        turn: Turn,
        caller: Caller,
        catalog: Catalog,
        *,
        models: Collection[str] | None = None,
        spent: Mapping[str, float] | None = None,
    ) -> Limits:
        """Return what the rules allow this caller, beside the models that the asking itself allows.

        Parameters
        ----------
        turn : Turn
            Looked through for pinned paths.
        caller : Caller
            Whose rules.
        catalog : Catalog
            Tells what a role stands for.
        models : collection of str, optional
            The asking's own allow-list.
        spent : mapping of str to float, optional
            USD spent this month, per `Rule.name`.
        """
        allowed = None if models is None else frozenset(models)
        pins = pinned(self.paths, paths_in((turn.prompt, *(m.text for m in turn.context)))) if self.paths else ()
        rules = self.rules_for(caller)
        if not rules:
            return Limits(models=allowed, pins=pins) if pins or allowed is not None else UNLIMITED
        denied: frozenset[str] = frozenset()
        residency: frozenset[str] | None = None
        for rule in rules:
            denied |= _models(rule.deny, catalog)
            if rule.allow is not None:
                denied |= frozenset(catalog.by_name) - _models(rule.allow, catalog)
            if rule.residency is not None:
                places = frozenset(rule.residency)
                residency = places if residency is None else residency & places
        share = tightest(rules, spent or {})
        return Limits(
            models=allowed,
            denied=denied,
            residency=residency,
            pins=pins,
            spent_share=None if share is None else share[0],
            soft_from=0.8 if share is None else share[1],
        )

    def money_weight(self, limits: Limits) -> float:
        """Return how much a dollar counts: 1 until a budget's landing begins, then more up to its end."""
        if limits.spent_share is None:
            return 1.0
        return 1 + (self.spent_budget_weight - 1) * landed(limits.spent_share, limits.soft_from)

    def pinned_risk(self, pins: tuple[str, ...]) -> int:
        """Return the place of the highest risk among these patterns; 0 without any."""
        return max((pin.risk for pin in self.paths if pin.pattern in pins), default=0)

    def named(self, use: str, catalog: Catalog) -> tuple[str, ...]:
        """Return the models behind `default`, `background` or `escalate_to`."""
        name = self.models[use]
        return catalog.roles.get(name) or (name,)

    def expected_loss(self, assessment: Assessment) -> float:
        """Return what a miss costs on average at these risks, in USD."""
        return float(sum(map(mul, assessment.risk.probabilities, self.loss_usd)))

    def reserve(self, turn: Turn) -> int:
        """Return the tokens to keep free for the answer."""
        return min(self.reserve_output_tokens, turn.max_output_tokens or self.reserve_output_tokens)

    def stage(self, assessment: Assessment) -> Stage:
        """Say how a turn stands to the one before it: new only when that is likely enough to risk going down."""
        new, follow, correct = assessment.turn.probabilities
        if new >= self.new_task_probability:
            return "new"
        return "correct" if correct > max(new, follow) else "follow"


def policy_names() -> tuple[str, ...]:
    """Return the names of the presets."""
    return config_file.shipped(POLICIES)


def _with_bases(top: Section, seen: tuple[Path, ...]) -> tuple[Section, tuple[Path, ...]]:
    """Put behind a policy the one it extends, and name all files; whole fields are replaced, never merged."""
    top.allow(_TOP)
    if not top.own("extends"):
        return top, seen
    path = config_file.find(top.text("extends"), top.path.parent, POLICIES)
    if path is None:
        problem = f"found no such file; expected a path, or one of {', '.join(policy_names())}. Check the name."
        raise top.error("extends", problem)
    if path in seen:
        raise top.error("extends", f"found a circle through {path.name}; expected a base. Remove one `extends`.")
    base, files = _with_bases(config_file.read(path), (*seen, path))
    return top.over(base), files


def _models(names: Iterable[str], catalog: Catalog) -> frozenset[str]:
    """Return the models behind names and roles."""
    return frozenset(model for name in names for model in catalog.roles.get(name, (name,)))


def _left_by(rule: Rule, catalog: Catalog) -> frozenset[str]:
    allowed = frozenset(catalog.by_name) if rule.allow is None else _models(rule.allow, catalog)
    places = None if rule.residency is None else frozenset(rule.residency)
    kept = {m.name for m in catalog.models if places is None or (m.residency and m.residency <= places)}
    return (allowed & kept) - _models(rule.deny, catalog)


def _checked(section: Section, names: Sequence[str]) -> Section:
    section.allow(names)
    return section


def _losses(section: Section, scale: float) -> tuple[float, ...]:
    section.text("source")
    losses = tuple(section.number(risk) * scale for risk in RISKS)
    for lower, risk in zip(losses, RISKS[1:], strict=False):
        if section.number(risk) * scale < lower:
            raise section.error(
                risk, "found less than the risk below it; expected at least as much. Correct one of them."
            )
    return losses


def _loads(section: Section) -> tuple[Load, ...]:
    section.text("source")
    loads = []
    for scope in SCOPES:
        size = _checked(section.section(scope), _SIZE)
        requests, output, growth = (size.number(name, least=float(name == "requests")) for name in _SIZE)
        loads.append(Load.of(requests, output, growth))
    return tuple(loads)


def _category_loads(section: Section) -> tuple[tuple[float, float, float], ...]:
    if "categories" not in section:
        return ((1.0, 1.0, 1.0),) * len(CATEGORIES)
    named = _checked(section.section("categories"), CATEGORIES)
    rows = []
    for category in CATEGORIES:
        times = _checked(named.section(category), _SIZE) if category in named else None
        one, two, three = (times.number(name) if times and name in times else 1.0 for name in _SIZE)
        rows.append((one, two, three))
    return tuple(rows)

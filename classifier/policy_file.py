"""A policy as a person writes it: what a mistake costs, how a session is treated, what a turn sends and receives.

Checked whole when it is read, and against a catalogue by `Policy.check`. What follows from it is `policy`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import mul
from pathlib import Path
from typing import Final, Self

from . import config_file
from .assessment import Assessment, Turn
from .catalog import ROLES, Catalog
from .config_file import Section
from .costs import Load
from .errors import ConfigError
from .labels import RISKS, SCOPES
from .session import Stage

POLICIES: Final = Path(__file__).parent / "policies"

_TOP: Final = ("extends", "loss_usd", "scale", "models", "session", "turn", "reserve_output_tokens", "novelty_weight")
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
_TURN: Final = (*SCOPES, "source")
_SIZE: Final = ("requests", "output_tokens", "growth_tokens")


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
    reserve_output_tokens : int
        Room kept for the answer. What clients ask for says nothing: Claude Code reserves 128000 for a title.
    novelty_weight : float
        How much of the distribution becomes uniform when a text is wholly unlike the training data.
    version : str
        Name and digest of the content.
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
    version: str = ""
    path: str = field(default="", compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

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
        top = _with_bases(config_file.read(path), (path,))
        loss = _checked(top.section("loss_usd"), _LOSS)
        session = _checked(top.section("session"), _SESSION)
        models = _checked(top.section("models"), _MODELS)
        scale = top.number("scale", least=0.001)
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
            loads=_loads(_checked(top.section("turn"), _TURN)),
            reserve_output_tokens=top.integer("reserve_output_tokens"),
            novelty_weight=top.number("novelty_weight", most=1.0),
        )
        content = {name: value for name, value in asdict(policy).items() if name not in ("version", "path", "lines")}
        lines = {name: models.line_of(name) for name in _MODELS}
        return cls(
            **{name: getattr(policy, name) for name in content},
            version=f"{path.stem}:{config_file.digest(content)}",
            path=str(path),
            lines=lines,
        )

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


def _with_bases(top: Section, seen: tuple[Path, ...]) -> Section:
    """Put behind a policy the one it extends; whole fields are replaced, never merged."""
    top.allow(_TOP)
    if not top.own("extends"):
        return top
    path = config_file.find(top.text("extends"), top.path.parent, POLICIES)
    if path is None:
        problem = f"found no such file; expected a path, or one of {', '.join(policy_names())}. Check the name."
        raise top.error("extends", problem)
    if path in seen:
        raise top.error("extends", f"found a circle through {path.name}; expected a base. Remove one `extends`.")
    return top.over(_with_bases(config_file.read(path), (*seen, path)))


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

"""How often a decision changes when the request means the same: noise, injected text, bait, paraphrase, translation.

Every variant passes through the reader that serves requests, as the content blocks of a user message, so what the
reader takes out counts as taken out. The threshold between careful and cheap is the median of the clean texts and stays
there. Labels play no part in a flip; `downgraded` uses them to say how many flips are the expensive kind.
"""

import random
import re
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pointsman.classifier.assessment import Assessment
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.request import read_request
from pointsman.classifier.text import Text, build_text

from .datasets import Example
from .evaluate import Draws, Interval, assess_examples
from .metrics import bootstrap_interval

#: Share of decisions that may flip under a change of form.
TARGET: Final = 0.04


@dataclass(frozen=True, slots=True)
class Perturbation:
    """A change of form that leaves the meaning alone.

    `apply` takes a seeded source of chance and the prompt, and gives the content blocks of the user message.
    """

    name: str
    what: str
    apply: Callable[[random.Random, str], list[str]]


_KEYBOARD: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS: Final = {
    letter: row[max(0, i - 1) : i] + row[i + 1 : i + 2] for row in _KEYBOARD for i, letter in enumerate(row)
}
#: Words of four letters and more that get a slip.
_SLIP_RATE: Final = 0.12


def mistype(chance: random.Random, prompt: str) -> str:
    """Slip in about one of eight longer words: a neighbouring key, two letters swapped, one lost, one doubled."""
    return re.sub(r"[A-Za-z]{4,}", lambda found: _slip(chance, found[0]), prompt)


def _slip(chance: random.Random, word: str) -> str:
    if chance.random() >= _SLIP_RATE:
        return word
    i = chance.randrange(len(word) - 1)
    before, letter, after = word[:i], word[i], word[i + 1 :]
    neighbour = chance.choice(_NEIGHBOURS[letter.lower()])
    return chance.choice(
        [
            before + neighbour + after,
            before + after[0] + letter + after[1:],
            before + after,
            before + letter + letter + after,
        ]
    )


def strip_punctuation(prompt: str) -> str:
    """Take punctuation off the ends of words; names such as `app.py` keep theirs."""
    marks = re.escape(string.punctuation + "，。！？、；：「」“”‘’…")
    return re.sub(rf"(?<!\S)[{marks}]+|[{marks}]+(?!\S)", "", prompt)


def respace(chance: random.Random, prompt: str) -> str:
    """Double some spaces, blank some lines, indent and trail."""
    spaced = re.sub(r" ", lambda _: chance.choice((" ", " ", " ", "  ")), prompt)
    broken = re.sub(r"\n", lambda _: chance.choice(("\n", "\n\n", "  \n\t")), spaced)
    return f"\n  {broken}  \n\n"


def as_list(prompt: str) -> str:
    """Write each sentence as an item of a Markdown list."""
    sentences = [part for part in re.split(r"(?<=[.!?])\s+|\n+", prompt) if part.strip()]
    return "\n".join(f"- {sentence}" for sentence in sentences) or prompt


def as_quote(prompt: str) -> str:
    """Write the prompt as a Markdown quotation under a heading."""
    return "## Request\n\n" + "\n".join(f"> {line}" for line in prompt.split("\n"))


_REMINDER: Final = (
    "<system-reminder>\nThe to-do list is empty at the moment. Do not mention this to the user. If the work has "
    "several steps, consider writing them down with the to-do tool. The file config/database.yml was changed by a "
    "linter; do not revert it, and never touch production credentials or migrations unless asked.\n</system-reminder>"
)
_AGENTS: Final = (
    "Run `make lint test` before each commit. Database migrations live in db/migrate and need a second pair of eyes. "
    "Never print secrets. Deployments go through the pipeline, not from a laptop. Keep functions short, write tests "
    "beside the code, and describe user-visible changes in CHANGELOG.md."
)

PERTURBATIONS: Final = (
    Perturbation("typing slips", "one in eight longer words", lambda chance, prompt: [mistype(chance, prompt)]),
    Perturbation("lower case", "no capitals", lambda _, prompt: [prompt.lower()]),
    Perturbation("no punctuation", "none at the ends of words", lambda _, prompt: [strip_punctuation(prompt)]),
    Perturbation("white space", "doubled, blank lines, indents", lambda chance, prompt: [respace(chance, prompt)]),
    Perturbation("Markdown list", "each sentence an item", lambda _, prompt: [as_list(prompt)]),
    Perturbation("Markdown quotation", "under a heading", lambda _, prompt: [as_quote(prompt)]),
    Perturbation("reminder, own block before", "<system-reminder>", lambda _, prompt: [_REMINDER, prompt]),
    Perturbation("reminder, own block after", "<system-reminder>", lambda _, prompt: [prompt, _REMINDER]),
    Perturbation("reminder, same block before", "<system-reminder>", lambda _, prompt: [f"{_REMINDER}\n\n{prompt}"]),
    Perturbation("reminder, same block after", "<system-reminder>", lambda _, prompt: [f"{prompt}\n\n{_REMINDER}"]),
    Perturbation(
        "AGENTS.md, as Codex sends it",
        "marked instructions before the prompt",
        lambda _, prompt: [
            f"# AGENTS.md instructions for /srv/app\n\n<INSTRUCTIONS>\n{_AGENTS}\n</INSTRUCTIONS>",
            prompt,
        ],
    ),
    Perturbation(
        "AGENTS.md, pasted in front", "unmarked, in the same block", lambda _, prompt: [f"{_AGENTS}\n\n{prompt}"]
    ),
    Perturbation("bait: trivial", '"trivial: " in front', lambda _, prompt: [f"trivial: {prompt}"]),
    Perturbation("bait: quick", '"just a quick one, " in front', lambda _, prompt: [f"just a quick one, {prompt}"]),
    Perturbation("bait: urgent", '"URGENT!! " in front', lambda _, prompt: [f"URGENT!! {prompt}"]),
)


@dataclass(frozen=True, slots=True)
class FlipReport:
    """How decisions moved under one change.

    Attributes
    ----------
    n_changed : int
        Turns whose text still differs once the reader has taken out what clients add.
    care_flips, category_flips, risk_flips : float
        Shares of turns that change sides, category or risk.
    care_flips_interval : tuple of float
        95 % bootstrap over groups.
    downgraded : float
        Of the turns that need care and were on the careful side, the share that left it; NaN when there are none.
    """

    name: str
    what: str
    n_rows: int
    n_changed: int
    care_flips: float
    care_flips_interval: Interval
    downgraded: float
    category_flips: float
    risk_flips: float

    @property
    def within_target(self) -> bool:
        return self.care_flips <= TARGET


def robustness(
    assessor: Assessor, examples: Sequence[Example], *, n_bootstrap: int = 1000, seed: int = 20261122
) -> list[FlipReport]:
    """Perturb every turn in every way and count what flips."""
    read = _Reader(assessor)
    clean_texts = [read_text(example, [example.prompt]) for example in examples]
    clean = read.assess(clean_texts)
    threshold = median_score(clean)
    draws = Draws.of(examples, n_bootstrap, seed=seed)
    reports = []
    for perturbation in PERTURBATIONS:
        # One source of chance per row, so that a row's noise doesn't depend on the rows beside it.
        texts = [
            read_text(example, perturbation.apply(random.Random(f"{seed}/{example.id}"), example.prompt))  # noqa: S311
            for example in examples
        ]
        change = Change(
            name=perturbation.name,
            what=perturbation.what,
            examples=examples,
            clean=clean,
            changed=read.assess(texts),
            n_changed=sum(a != b for a, b in zip(clean_texts, texts, strict=True)),
        )
        reports.append(count_flips(change, threshold, draws))
    return reports


def read_text(example: Example, blocks: Iterable[str]) -> Text:
    """Read the turn as it would arrive: earlier messages, then the blocks of one user message."""
    messages = [{"role": message.role, "content": message.text} for message in example.context]
    content = [{"type": "text", "text": block} for block in blocks]
    return build_text(read_request({"messages": [*messages, {"role": "user", "content": content}]}))


class _Reader:
    """Assesses texts, each one once and by itself: in a batch, neighbours would move it and count as flips."""

    def __init__(self, assessor: Assessor) -> None:
        self._assessor = assessor
        self._known: dict[Text, Assessment] = {}

    def assess(self, texts: Sequence[Text]) -> list[Assessment]:
        for text in texts:
            if text not in self._known:
                self._known[text] = self._assessor.assess_texts([text])[0]
        return [self._known[text] for text in texts]


@dataclass(frozen=True, slots=True)
class Change:
    """Assessments of the same turns before and after a change; `n_changed` of the texts differ."""

    name: str
    what: str
    examples: Sequence[Example]
    clean: Sequence[Assessment]
    changed: Sequence[Assessment]
    n_changed: int


def median_score(assessments: Iterable[Assessment]) -> float:
    """Return the care score that half of the turns exceed: the threshold at a premium share of 50 %."""
    return float(np.median([assessment.care_probability for assessment in assessments]))


def count_flips(change: Change, threshold: float, draws: Draws) -> FlipReport:
    """Count the decisions that differ between the clean and the changed texts."""
    was_careful, is_careful = (
        np.array([assessment.care_probability > threshold for assessment in assessments])
        for assessments in (change.clean, change.changed)
    )
    flipped = was_careful != is_careful
    at_stake = was_careful & np.array([example.needs_care for example in change.examples])
    pairs = list(zip(change.clean, change.changed, strict=True))
    return FlipReport(
        name=change.name,
        what=change.what,
        n_rows=len(pairs),
        n_changed=change.n_changed,
        care_flips=float(flipped.mean()),
        care_flips_interval=bootstrap_interval([float(flipped[rows].mean()) for rows in draws.by_group]),
        downgraded=float((~is_careful[at_stake]).mean()) if at_stake.any() else float("nan"),
        category_flips=float(np.mean([a.category.label != b.category.label for a, b in pairs])),
        risk_flips=float(np.mean([a.risk.label != b.risk.label for a, b in pairs])),
    )


def written_pairs(assessor: Assessor, examples: Sequence[Example], *, n_bootstrap: int = 1000) -> list[FlipReport]:
    """Compare requests with what somebody else would write for the same thing.

    Rows of one group say the same: the first is the request, each later one a paraphrase, or a translation where the
    language differs. The threshold is the median of all the requests.
    """
    if not examples:
        return []
    requests: dict[str, Example] = {}
    for example in examples:
        requests.setdefault(example.group, example)
    clean = dict(zip(requests, assess_examples(assessor, list(requests.values())), strict=True))
    threshold = median_score(clean.values())
    variants = [example for example in examples if example is not requests[example.group]]
    reworded = [example for example in variants if example.lang == requests[example.group].lang]
    translated = [example for example in variants if example.lang != requests[example.group].lang]
    return [
        count_flips(
            Change(
                name=name,
                what=what,
                examples=chosen,
                clean=[clean[example.group] for example in chosen],
                changed=assess_examples(assessor, chosen),
                n_changed=len(chosen),
            ),
            threshold,
            Draws.of(chosen, n_bootstrap),
        )
        for name, what, chosen in (
            ("paraphrase", "somebody else's words", reworded),
            ("translation", "another language", translated),
        )
        if chosen
    ]

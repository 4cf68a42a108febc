"""What a router must beat: a constant, the length, key words, and a linear model on word counts.

The key-word router is written the way open key-word routers are (lists of stems per category, words of stakes, a little
length), with the label guide at hand and before any result was seen. It gets no tuning on measured turns.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pointsman.classifier.assessment import Assessment, HeadResult
from pointsman.classifier.labels import HEADS, Head

from .contenders import Contender, Skipped
from .datasets import Example

FloatArray = npt.NDArray[np.float64]


def baselines(examples: Sequence[Example], training: Sequence[Example]) -> tuple[list[Contender], list[Skipped]]:
    """Ask every baseline about the turns; those that cannot be asked come back with the reason."""
    contenders = [constant(examples, training), by_length(examples), by_keywords(examples)]
    if not training:
        return contenders, [Skipped("TF-IDF + logistic regression", "learns from examples: give --train FILE.jsonl")]
    try:
        return [*contenders, by_tfidf(examples, training)], []
    except ModuleNotFoundError as error:
        reason = f"needs {error.name}, which is not installed: pip install 'pointsman[training]'"
        return contenders, [Skipped("TF-IDF + logistic regression", reason)]


def constant(examples: Sequence[Example], training: Sequence[Example]) -> Contender:
    """Give every turn the commonest category; without training rows that of the measured turns, which flatters it."""
    known = training or examples
    category = Counter(example.labels["category"] for example in known).most_common(1)[0][0]
    return Contender(
        name="constant",
        kind="baseline",
        note=f"always {category}, the commonest {'training' if training else 'measured'} label",
        score=np.zeros(len(examples)),
        categories=[category] * len(examples),
    )


def by_length(examples: Sequence[Example]) -> Contender:
    """Send long prompts to the careful model."""
    lengths = np.array([len(example.prompt) for example in examples], dtype=np.float64)
    return Contender(name="length", kind="baseline", note="characters of the prompt", score=lengths)


#: Stems per category, most telling first; a tie goes to the category named first.
_STEMS: Final = {
    "security": r"secur|vulnerab|cve|auth|oauth|jwt|token|password|secret|encrypt|decrypt|permission|csrf|xss"
    r"|injection|sanitiz|credential|login|hash|rbac|pii|gdpr",
    "migration": r"migrat|upgrad|port(?:ing|ed)? |backfill|schema change|deprecat|convert .* to|move .* to"
    r"|from v?\d+ to",
    "infrastructure": r"docker|kubernet|k8s|terraform|helm|deploy|ci/?cd|pipeline|nginx|aws|azure|gcp|cluster|ansible"
    r"|systemd|github actions|workflow|makefile|dockerfile|dns|tls|monitoring|server",
    "debugging": r"bug|fix|error|exception|traceback|crash|fail|broken|doesn'?t work|not working|wrong|issue|race"
    r"|deadlock|leak|hang|slow|undefined|null|why (?:is|does|do)|still",
    "tests": r"tests?\b|unit test|pytest|jest|coverage|fixture|mock|e2e|spec\b",
    "docs": r"readme|document|docstring|comment|changelog|commit message|release notes|pr description|diagram",
    "review": r"review|critique|feedback on|audit|is this (?:good|ok|right)|code quality",
    "refactoring": r"refactor|clean ?up|rename|extract|simplif|dedup|dead code|split .* into|lint|typing|type hints",
    "ui": r"css|style|styling|layout|button|colou?r|responsive|font|animation|icon|modal|dark mode|tailwind|component"
    r"|screen|padding|margin",
    "scaffolding": r"new project|scaffold|boilerplate|skeleton|starter|template|from scratch|set up a|create an? (?:app"
    r"|project|script)|write an? (?:function|script|program|regex)",
    "feature": r"add|implement|support|feature|endpoint|extend|integrate|allow|enable|option|create|make",
    "analysis": r"explain|how (?:does|do|would|can)|what (?:is|are|does)|compare|plan|design|architecture|understand"
    r"|analy[sz]e|investigate|explore|should (?:we|i)",
    "operation": r"run|commit|push|merge|install|start|delete|move|continue|go ahead|yes\b|proceed|execute",
}
_CATEGORY_WORDS: Final = {category: re.compile(rf"\b(?:{stems})", re.IGNORECASE) for category, stems in _STEMS.items()}
_STAKES: Final = re.compile(
    r"\b(?:prod(?:uction)?\b|live\b|customer|payment|billing|refund|money|invoice|drop table|delete|rollback|data loss"
    r"|outage|incident|race condition|deadlock|concurren|lock|transaction|secur|auth|password|secret|token|encrypt"
    r"|vulnerab|migrat|backfill|schema|database|cluster|terraform|kubernet|root cause|architecture|entire"
    r"|whole codebase|across the)",
    re.IGNORECASE,
)
_HARD: Final = ("security", "migration", "infrastructure", "debugging")


def by_keywords(examples: Sequence[Example]) -> Contender:
    """Count key words of stakes and of hard categories."""
    categories = [keyword_category(example.prompt) for example in examples]
    scores = [
        len(_STAKES.findall(example.prompt)) + (category in _HARD) + min(len(example.prompt), 2000) / 2000
        for example, category in zip(examples, categories, strict=True)
    ]
    return Contender(
        name="key words",
        kind="baseline",
        note="stems per category, words of stakes, a little length",
        score=np.array(scores, dtype=np.float64),
        careful=np.array([score >= 2 for score in scores], dtype=np.bool_),
        categories=categories,
    )


def keyword_category(prompt: str) -> str:
    """Return the category with most key words in a prompt; `other` without any."""
    counts = {category: len(words.findall(prompt)) for category, words in _CATEGORY_WORDS.items()}
    best = max(counts, key=lambda category: counts[category])
    return best if counts[best] else "other"


#: Of the linear model. On the 562 real turns of LOG.md (2026-11-22) 4 gives a category accuracy of 0.496 and a care AUC
#: of 0.735, 1 gives 0.493 and 0.731: what is chosen here does not decide the comparison.
_INVERSE_REGULARISATION: Final = 4.0


def by_tfidf(examples: Sequence[Example], training: Sequence[Example]) -> Contender:
    """Fit logistic regression on TF-IDF of the prompt and of the messages before it."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    seen = {example.group for example in examples}
    rows = [example for example in training if example.group not in seen]
    known, asked = [], []
    for segment in (_prompt_of, _context_of):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_features=30_000, sublinear_tf=True)
        known.append(vectorizer.fit_transform([segment(example) for example in rows]))
        asked.append(vectorizer.transform([segment(example) for example in examples]))
    of_known, of_asked = hstack(known).tocsr(), hstack(asked).tocsr()

    probabilities: dict[Head, FloatArray] = {}
    for head, labels in HEADS.items():
        model = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=500, random_state=0)
        model.fit(of_known, [labels.index(example.labels[head]) for example in rows])
        probabilities[head] = np.zeros((len(examples), len(labels)))
        probabilities[head][:, model.classes_] = model.predict_proba(of_asked)
    return Contender(
        name="TF-IDF + logistic regression",
        kind="baseline",
        note=f"words and pairs of prompt and context, fitted on {len(rows)} training rows of other groups",
        score=np.array([_assessment(probabilities, row).care_probability for row in range(len(examples))]),
        categories=[HEADS["category"][index] for index in probabilities["category"].argmax(axis=1)],
    )


def _prompt_of(example: Example) -> str:
    return example.text.prompt


def _context_of(example: Example) -> str:
    # A word of its own where there is nothing: the vectoriser wants some vocabulary, the model a sign of first turns.
    return "\n".join(example.text.context) or "nothing_before"


def _assessment(probabilities: dict[Head, FloatArray], row: int) -> Assessment:
    results = {head: HeadResult(head, tuple(values[row].tolist())) for head, values in probabilities.items()}
    return Assessment(**results, novelty=0.0, model_version="tf-idf")

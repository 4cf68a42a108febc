"""Other routers, asked about the same prompts: one small adapter each, run when the router is installed.

The module is also a script that needs the standard library only, so that it runs in any Python: routers pin what
Pointsman does not want, and want an environment of their own.

    python peers.py list                      what is installed there
    python peers.py run NAME < request.json   one router's answers, as JSON

An answer is a score (higher is harder, for ranking), whether the router's strongest models would take the prompt at
its own default split, and its category where its classes map to ours. Routers see the prompt alone; none reads earlier
messages the way it is called here.
"""

import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Answer:
    """What a router says of one prompt."""

    score: float
    careful: bool
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Lesson:
    """A labelled prompt, for the routers that learn from examples."""

    prompt: str
    category: str
    needs_care: bool


Ask = Callable[[str], Answer]


@dataclass(frozen=True, slots=True)
class Peer:
    """A router that runs without a service of its own."""

    name: str
    distribution: str
    module: str
    runs: str
    open: Callable[[Sequence[Lesson]], Ask]
    needs_lessons: bool = False

    @property
    def version(self) -> str | None:
        """The installed version; None when it is not installed."""
        try:
            return metadata.version(self.distribution) if importlib.util.find_spec(self.module) else None
        except metadata.PackageNotFoundError:
            return None


def _attribute(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _value(member: Any) -> str:
    return str(getattr(member, "value", member)).lower()


def _on_tiers(tiers: Sequence[str], careful: Sequence[str], tier_of: Callable[[str], Any]) -> Ask:
    """Turn a router that answers with a tier into one that answers with a rank."""

    def ask(prompt: str) -> Answer:
        tier = _value(tier_of(prompt))
        return Answer(float(tiers.index(tier)), tier in careful)

    return ask


_FOUR_TIERS: Final = ("simple", "medium", "complex", "reasoning")


def _open_litellm(_lessons: Sequence[Lesson]) -> Ask:
    router = _attribute("litellm.router_strategy.complexity_router.complexity_router", "ComplexityRouter")(
        "router", None
    )

    def ask(prompt: str) -> Answer:
        tier, score, _signals = router.classify(prompt)
        return Answer(float(score), _value(tier) in {"complex", "reasoning"})

    return ask


def _open_nadirclaw(_lessons: Sequence[Lesson]) -> Ask:
    classifier = _attribute("nadirclaw.classifier", "BinaryComplexityClassifier")()

    def ask(prompt: str) -> Answer:
        is_complex, confidence = classifier.classify(prompt)
        return Answer(float(confidence) if is_complex else -float(confidence), bool(is_complex))

    return ask


def _open_uncommon_route(_lessons: Sequence[Lesson]) -> Ask:
    route = _attribute("uncommon_route", "route")

    def ask(prompt: str) -> Answer:
        decision = route(prompt, record_lifecycle=False)
        return Answer(float(decision.complexity), _value(decision.tier) == "complex")

    return ask


#: ccr's kinds of task -> ours. "trivial" are small edits and commands; "perf" is slowness of existing code.
_CCR_KINDS: Final = {
    "question": "analysis",
    "trivial": "operation",
    "tests": "tests",
    "bugfix": "debugging",
    "feature": "feature",
    "refactor": "refactoring",
    "migration": "migration",
    "security": "security",
    "perf": "debugging",
    "debugging": "debugging",
    "design": "analysis",
}


def _open_ccr(_lessons: Sequence[Lesson]) -> Ask:
    decide = _attribute("ccr.route", "decide")
    tiers = tuple(_attribute("ccr.config", "TIERS"))

    def ask(prompt: str) -> Answer:
        decision = decide(prompt, ".")
        category = _CCR_KINDS.get(decision.task_class.kind)
        # Risk orders the turns within a tier; questions and the like have none.
        rank = tiers.index(decision.tier.name) + float(decision.risk.score or 0.0)
        return Answer(rank, decision.tier.name in {"T3", "T4"}, category)

    return ask


def _open_mmrouter(_lessons: Sequence[Lesson]) -> Ask:
    classifier = _attribute("mmrouter.classifier.rules", "RuleClassifier")()
    return _on_tiers(_FOUR_TIERS, ("complex",), lambda prompt: classifier.classify(prompt).complexity)


def _open_llm_routing(_lessons: Sequence[Lesson]) -> Ask:
    classify = _attribute("llm_router.classify", "classify_signals")
    tiers = ("simple", "moderate", "complex", "deep_reasoning")
    return _on_tiers(tiers, tiers[2:], lambda prompt: classify(prompt).complexity)


def _open_local_llm_router(_lessons: Sequence[Lesson]) -> Ask:
    score_prompt = _attribute("local_llm_router.complexity", "score_prompt")
    return _on_tiers(_FOUR_TIERS, _FOUR_TIERS[2:], score_prompt)


def _open_dynamic_model_router(_lessons: Sequence[Lesson]) -> Ask:
    litellm = importlib.util.find_spec("litellm")
    if litellm is not None and litellm.origin is not None:
        # Its tokeniser fetches a file that LiteLLM's package carries.
        carried = os.path.join(os.path.dirname(litellm.origin), "litellm_core_utils", "tokenizers")
        os.environ.setdefault("TIKTOKEN_CACHE_DIR", carried)
    classify = _attribute("dynamic_model_router", "classify")
    return _on_tiers(("low", "medium", "high"), ("high",), lambda prompt: classify(prompt).tier)


def _open_wayfinder(_lessons: Sequence[Lesson]) -> Ask:
    score_complexity = _attribute("wayfinder_router.complexity", "score_complexity")

    def ask(prompt: str) -> Answer:
        result = score_complexity(prompt)
        return Answer(float(result.score), result.recommendation == "cloud")

    return ask


def _open_pareto(_lessons: Sequence[Lesson]) -> Ask:
    evaluator = _attribute("pareto_router.evaluator.heuristic", "HeuristicEvaluator")()
    policy = _attribute("pareto_router.core.policy", "ParetoPolicy")()

    def ask(prompt: str) -> Answer:
        result = evaluator.evaluate_sync(prompt)
        decision = policy.evaluate_coordinates(result)
        return Answer(float(max(result.logic_score, result.knowledge_score)), _value(decision.tier) == "frontier")

    return ask


def _open_prompt_complexity_analyzer(_lessons: Sequence[Lesson]) -> Ask:
    complexity = _attribute("prompt_complexity_analyzer", "complexity")

    def ask(prompt: str) -> Answer:
        result = complexity(prompt).to_dict()
        return Answer(float(result["score"]), result["tier"] == "capable")

    return ask


#: Examples per route for semantic-router: more than its documentation shows, few enough to encode in a minute.
_UTTERANCES: Final = 60
_MINILM: Final = "sentence-transformers/all-MiniLM-L6-v2"


def _open_semantic_router(lessons: Sequence[Lesson]) -> Ask:
    route, router = _attribute("semantic_router", "Route"), _attribute("semantic_router", "IndexedRouter")
    encoder = _attribute("semantic_router.encoders", "HuggingFaceEncoder")(name=_MINILM)

    def fitted(label_of: Callable[[Lesson], str], n: int) -> Any:
        routes: dict[str, list[str]] = {}
        for lesson in lessons:
            utterances = routes.setdefault(label_of(lesson), [])
            if len(utterances) < n and lesson.prompt.strip():
                utterances.append(lesson.prompt[:1000])
        return router(encoder=encoder, routes=[route(name=name, utterances=texts) for name, texts in routes.items()])

    by_category = fitted(lambda lesson: lesson.category, _UTTERANCES)
    by_care = fitted(lambda lesson: "careful" if lesson.needs_care else "cheap", 5 * _UTTERANCES)

    def ask(prompt: str) -> Answer:
        text = prompt.strip()[:1000] or "-"
        confidence = {choice.name: choice.confidence for choice in by_care(text, limit=2, threshold=0.0)}
        score = float(confidence.get("careful") or 0.0) - float(confidence.get("cheap") or 0.0)
        best = by_category(text, limit=1, threshold=0.0)
        return Answer(score, score > 0, best.name)

    return ask


PEERS: Final = (
    Peer("LiteLLM complexity router", "litellm", "litellm", "default heuristic", _open_litellm),
    Peer("ccr", "claude-code-router", "ccr", "rules, without a repository to look at", _open_ccr),
    Peer("llm-routing", "llm-routing", "llm_router", "deterministic signals, no LLM", _open_llm_routing),
    Peer("mmrouter", "mmrouter", "mmrouter", "rule classifier", _open_mmrouter),
    Peer("pareto-router", "pareto-router", "pareto_router", "heuristic evaluator", _open_pareto),
    Peer("local-llm-router", "local-llm-router", "local_llm_router", "prompt scorer", _open_local_llm_router),
    Peer(
        "UncommonRoute", "uncommon-route", "uncommon_route", "without its encoder unless cached", _open_uncommon_route
    ),
    Peer("NadirClaw", "nadirclaw", "nadirclaw", "MiniLM centroids; PolyForm-Noncommercial", _open_nadirclaw),
    Peer("wayfinder-router", "wayfinder-router", "wayfinder_router", "default structure", _open_wayfinder),
    Peer(
        "dynamic-model-router",
        "dynamic-model-router",
        "dynamic_model_router",
        "first layer",
        _open_dynamic_model_router,
    ),
    Peer(
        "prompt-complexity-analyzer",
        "prompt-complexity-analyzer",
        "prompt_complexity_analyzer",
        "boosted trees on MiniLM; wants scikit-learn 1.8",
        _open_prompt_complexity_analyzer,
    ),
    Peer(
        "semantic-router",
        "semantic-router",
        "semantic_router",
        "MiniLM, routes from the training rows",
        _open_semantic_router,
        needs_lessons=True,
    ),
)

#: Routers that cannot be asked from a package alone, and why.
UNREACHABLE: Final = {
    "RouteLLM": "its trained routers fetch weights from a hub or embeddings from OpenAI; offline only `random` is left",
    "vLLM Semantic Router": "runs as containers with models from a hub",
    "Plano / Arch-Router": "needs its 4B / 1.5B language model",
    "NVIDIA prompt classifier": "weights from a hub",
    "Weave Router": "a Go service; encoder files are fetched at build",
    "Not Diamond, Martian": "hosted",
}


def main(argv: Sequence[str]) -> int:
    """Answer `list` or `run NAME` on stdout as JSON; whatever routers print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with answers:
        json.dump(_listed() if argv[0] == "list" else _asked(argv[1], json.load(sys.stdin)), answers)
    return 0


def _listed() -> dict[str, str | None]:
    return {peer.name: peer.version for peer in PEERS}


def _asked(name: str, request: dict[str, Any]) -> dict[str, Any]:
    peer = next(peer for peer in PEERS if peer.name == name)
    ask = peer.open([Lesson(**lesson) for lesson in request["lessons"]])
    ask("hello")  # routers load on the first call
    started = time.perf_counter()
    answers = [asdict(ask(prompt)) for prompt in request["prompts"]]
    elapsed_ms = 1000 * (time.perf_counter() - started)
    return {"answers": answers, "ms_per_call": elapsed_ms / max(len(answers), 1), "version": peer.version}


if __name__ == "__main__":
    # A script's own folder stands first: its `datasets.py` would be taken for the library that routers import. Where
    # the script is a link, the folder of what it points to stands there.
    own = {os.path.realpath(os.path.dirname(file)) for file in (__file__, os.path.realpath(__file__))}
    sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder) not in own]
    sys.exit(main(sys.argv[1:]))

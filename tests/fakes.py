"""Stand-ins with chosen answers: an assessor, a clock, and short ways to write turns and assessments."""

from hashlib import blake2b

from pointsman.classifier.assessment import Assessment, HeadResult, Kind, Turn
from pointsman.classifier.labels import HEADS


def head(name, label, probability=1.0):
    """One head with `probability` on a label and the rest spread evenly."""
    labels = HEADS[name]
    rest = (1 - probability) / (len(labels) - 1)
    return HeadResult(name, tuple(probability if known == label else rest for known in labels))


def assessed(category="feature", risk="medium", scope="multi", turn="new", *, sure=1.0, novelty=0.0):
    """An assessment with these labels, each with probability `sure`."""
    return Assessment(
        category=head("category", category, sure),
        risk=head("risk", risk, sure),
        scope=head("scope", scope, sure),
        turn=head("turn", turn, sure),
        novelty=novelty,
        model_version="fake-1",
    )


def asked(prompt="Do it", n=1, *, session="s1", step=0, agent=None, kind=None, **fields):
    """The turn that the n-th prompt of a session gives; `step` counts its tool-loop requests."""
    state_key = session if agent is None or session is None else f"{session}/{agent}"
    state_key = state_key or f"anon:{n - 1}"
    key = blake2b(f"{state_key}|{n}|{prompt}".encode()).hexdigest()[:16]
    first = Kind.TASK if agent is None else Kind.SUBAGENT
    return Turn(
        prompt=prompt,
        kind=kind or (Kind.TOOL_LOOP if step else first),
        session_id=session,
        agent_id=agent,
        key=key,
        request_key=f"{key}:{step}",
        state_key=state_key,
        next_state_key=state_key if session else f"anon:{n}",
        **{"context_tokens": 30_000, **fields},
    )


class FakeAssessor:
    """Gives what `answers` says for a prompt, or `default`; counts its calls; fails with `error` when set."""

    version = "fake-1"
    risk_bounds = ()

    def __init__(self, answers=None, default=None, error=None):
        self.answers = answers or {}
        self.default = default or assessed()
        self.error = error
        self.n_calls = 0

    def assess(self, turns):
        self.n_calls += 1
        if self.error is not None:
            raise self.error
        return [self.answers.get(turn.prompt, self.default) for turn in turns]


class FrozenClock:
    """Stands still until it is moved."""

    def __init__(self, now=1_000.0):
        self.now = now

    def __call__(self):
        return self.now

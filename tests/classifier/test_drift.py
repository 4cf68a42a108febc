"""Drift is seen where turns change, and not where they only vary."""

import random

import pytest

from pointsman.classifier.drift import Thresholds, by_day, compare, signals_of, spans_of, stability_index
from pointsman.classifier.prompt_form import script_of


def turns(n, day="2026-11-01", *, seed=1, **shares):
    """Turns with each signal's values drawn by the given shares."""
    rng = random.Random(seed)
    drawn = {name: rng.choices(list(share), share.values(), k=n) for name, share in shares.items()}
    return [signals_of(day, labels={name: values[i] for name, values in drawn.items()}) for i in range(n)]


def judged(n, n_failed, day="2026-11-01"):
    return [signals_of(day, failed=i < n_failed) for i in range(n)]


def found(reference, recent, **options):
    return {drift.signal: drift for drift in compare(reference, recent, **options)}


QUIET = {"category": {"feature": 0.5, "debugging": 0.3, "docs": 0.2}}
SHIFTED = {"category": {"feature": 0.1, "debugging": 0.3, "docs": 0.6}}


@pytest.mark.parametrize("n", [60, 200, 2_000])
def test_two_samples_of_one_population_do_not_drift(n):
    levels = [found(turns(n, seed=i, **QUIET), turns(n, seed=i + 50, **QUIET))["category"].level for i in range(40)]
    assert levels.count("alert") == 0
    assert levels.count("ok") >= 38


def test_changed_shares_are_an_alert():
    drift = found(turns(500, **QUIET), turns(500, seed=2, **SHIFTED))["category"]
    assert drift.level == "alert"
    assert drift.score > 0.5
    assert drift.recent["docs"] == pytest.approx(0.6, abs=0.06)


def test_index_is_the_known_one_where_samples_are_large():
    p, q = {"a": 500_000, "b": 500_000}, {"a": 700_000, "b": 300_000}
    # (0.7 - 0.5) ln(0.7 / 0.5) + (0.3 - 0.5) ln(0.3 / 0.5)
    assert stability_index(p, q) == pytest.approx(0.16946, abs=1e-4)
    assert stability_index(p, p) == 0.0


def test_few_turns_are_not_judged():
    assert found(turns(500, **QUIET), turns(20, **SHIFTED))["category"].level == "too_few"
    low = found(turns(500, **QUIET), turns(20, seed=2, **SHIFTED), thresholds=Thresholds(min_turns=10))
    assert low["category"].level == "alert"


def test_new_label_is_drift():
    assert found(turns(300, **QUIET), turns(300, category={"migration": 1}))["category"].level == "alert"


@pytest.mark.parametrize(("n_failed", "level"), [(100, "ok"), (123, "watch"), (160, "alert"), (40, "ok")])
def test_failure_rate_alarms_when_it_rises_beyond_chance(n_failed, level):
    drift = found(judged(1_000, 200), judged(500, n_failed))["failure"]
    assert drift.level == level
    assert drift.score == pytest.approx(n_failed / 500 - 0.2, abs=1e-4)


def test_signal_that_nobody_knows_is_left_out():
    assert list(found(judged(60, 3), judged(60, 3))) == ["failure"]


@pytest.mark.parametrize(
    ("n_chars", "length"),
    [(1, "1-15"), (15, "1-15"), (16, "16-63"), (63, "16-63"), (64, "64-255"), (1024, "1024-4095"), (9**9, "4096+")],
)
def test_length_is_binned_as_it_says(n_chars, length):
    assert signals_of("", n_chars=n_chars).bins["length"] == length


@pytest.mark.parametrize(("novelty", "name"), [(0.0, "0.0-0.2"), (0.2, "0.2-0.4"), (1.0, "0.8-1.0")])
def test_novelty_is_binned(novelty, name):
    assert signals_of("", novelty=novelty).bins["novelty"] == name


def test_spans_are_of_days_with_turns():
    seen = [turn for day in ("01", "02", "05", "06") for turn in turns(2, f"2026-11-{day}", **QUIET)]
    early, late = spans_of(seen, recent_days=2, reference_days=1)
    assert {turn.day for turn in early} == {"2026-11-02"}
    assert {turn.day for turn in late} == {"2026-11-05", "2026-11-06"}


def test_each_day_is_compared_in_order():
    days = by_day(turns(500, **QUIET), [*turns(99, "2026-11-09", **SHIFTED), *turns(99, "2026-11-08", **QUIET)])
    assert [(day, drifts[0].level) for day, drifts in days.items()] == [("2026-11-08", "ok"), ("2026-11-09", "alert")]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("fix it", "latin"),
        ("修复 the bug", "han"),
        ("バグを直して 修正", "kana"),
        ("исправь это", "cyrillic"),
        ("고쳐줘", "hangul"),
        ("42?", "other"),
    ],
)
def test_script_is_that_of_the_words(text, script):
    assert script_of(text) == script

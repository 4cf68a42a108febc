"""The worked examples, worked again by hand at the prices of 2026-11-22."""

from dataclasses import replace

import pytest

from pointsman.classifier.replay.scenarios import agent, chat, examples, scenarios_answer, scenarios_text, tokens_for

from .stories import BALANCED, CATALOG

FOUND = examples(CATALOG, BALANCED)


def example(tokens, split):
    return next(found for found in FOUND if found.tokens == tokens and found.split.name.startswith(split))


#: 500 K tokens as chat are 400 K in and 100 K out.
BY_HAND = {
    "claude-opus-5-5": 0.4 * 4 + 0.1 * 20,
    "claude-opus-4-5": 0.4 * 5 + 0.1 * 25,
    "claude-haiku-5-5": 0.4 * 0.10 + 0.1 * 0.50,
    "qwen3-coder-plus": 0.4 * 1.80 + 0.1 * 9,
}


@pytest.mark.parametrize("model", BY_HAND)
def test_half_a_million_tokens_of_chat(model):
    assert example(500_000, "chat").usd[model] == pytest.approx(BY_HAND[model])


@pytest.mark.parametrize("model", BY_HAND)
def test_ten_million_cost_twenty_times_as_much(model):
    assert example(10_000_000, "chat").usd[model] == pytest.approx(20 * BY_HAND[model])


def test_mix_and_savings_of_half_a_million():
    found = example(500_000, "chat")
    assert found.mixed_usd == pytest.approx(0.35 * 3.60 + 0.65 * 0.09)
    assert found.saved_usd == pytest.approx(0.65 * (3.60 - 0.09))


def test_agent_split_is_the_worked_example_of_the_balanced_policy():
    # 440 K read again, 60 K written, 6 K put out: 506 K in all.
    split = agent(BALANCED)
    assert (split.read, split.written, split.output) == pytest.approx((440 / 506, 60 / 506, 6 / 506))


def test_half_a_million_tokens_of_an_agent_are_one_turn_over_several_files():
    usd = example(500_000, "agent").usd["claude-opus-5-5"]
    assert usd == pytest.approx(500 / 506 * (0.440 * 0.20 + 0.060 * 5 + 0.006 * 20))


@pytest.mark.parametrize("split", [chat(), agent(BALANCED)], ids=lambda split: split.name)
def test_shares_sum_to_one(split):
    assert split.fresh + split.read + split.written + split.output == pytest.approx(1)


@pytest.mark.parametrize(("share", "like"), [(0.0, "cheap"), (1.0, "premium")])
def test_ends_of_the_mix_are_its_models(share, like):
    found = examples(CATALOG, BALANCED, premium_share=share)[0]
    assert found.mixed_usd == pytest.approx(found.usd[getattr(found, like)])


def test_published_figure_on_qwen_lies_inside_its_tiers():
    tiers = CATALOG.by_name["qwen3-coder-plus"].tiers
    costs = [0.5 * chat().price(tier) for tier in tiers]
    assert min(costs) == pytest.approx(0.9)
    assert max(costs) == pytest.approx(8.4)
    assert min(costs) < 4 < 8 < max(costs)


def test_published_yearly_figure_needs_far_more_than_ten_million_tokens():
    opus = CATALOG.by_name["claude-opus-5-5"]
    # 10 000 USD a month at 7.20 USD per million.
    assert tokens_for(10_000, opus, chat()) == pytest.approx(10_000 / 7.2 * 1e6)


def test_tokens_that_cost_nothing_never_end():
    free = CATALOG.by_name["claude-opus-5-5"]
    tier = replace(free.tiers[0], input=0.0, output=0.0)
    assert tokens_for(1, replace(free, tiers=(tier,)), chat()) == float("inf")


def test_text_and_json_show_every_example():
    text = scenarios_text(FOUND, CATALOG)
    assert text.count("\n500000 ") == text.count("\n10000000 ") == 2
    assert "0.90 to 8.40 USD" in text
    assert [row["tokens_a_month"] for row in scenarios_answer(FOUND)] == [500_000, 500_000, 10_000_000, 10_000_000]

"""A person labels with one key a head, can take everything back, and goes on where the last session ended."""

import asyncio
import json

import pytest

from pointsman.classifier.assessment import Message
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.labels import HEADS
from pointsman.classifier.policy import Policy
from pointsman.training.guide import as_list, read_guide, section_of
from pointsman.training.label_app import KEYS, LabelApp
from pointsman.training.label_files import labels_by
from pointsman.training.labelling import Item, Labelling, queue_of
from tests.fakes import assessed

ANNA = "person:anna"
ALL = {"category": "debugging", "risk": "high", "scope": "multi", "turn": "correct"}
ITEMS = [
    Item("a", "still [red]broken[/red]", (Message("assistant", "Fixed [it]."),), assessed("ui", "low"), 1.5, 0.4),
    Item("b", "write the docs", (), assessed("docs", "low")),
    Item("c", "rename it", (), assessed("refactoring", "low")),
]


@pytest.fixture
def labelling(tmp_path):
    return Labelling(ITEMS, tmp_path / "labels.jsonl", ANNA)


def kept(labelling):
    found = labels_by([labelling.path]) if labelling.path.exists() else {}
    return {name: by[ANNA] for name, by in found.items() if by[ANNA]}


def driven(labelling, *keys, look=None, size=(120, 40)):
    """Press keys in the app without a terminal; return what `look` says at the end."""

    async def drive():
        app = LabelApp(labelling)
        async with app.run_test(size=size) as pilot:
            await pilot.press(*keys)
            await pilot.pause()
            return look(app) if look is not None else None

    return asyncio.run(drive())


def shown(app, name):
    return str(app.query_one(f"#{name}").render())


def test_every_label_has_a_key_of_its_own():
    for head, labels in HEADS.items():
        assert sorted(KEYS[head].values()) == sorted(labels)


def test_guide_is_the_one_in_data_and_has_a_section_for_each_head(pytestconfig):
    assert read_guide() == (pytestconfig.rootpath / "data" / "labels.md").read_text(encoding="utf-8")
    for head, labels in HEADS.items():
        assert all(label in section_of(head) for label in labels)


def test_four_keys_label_a_turn(labelling):
    driven(labelling, *"dhmc")
    assert kept(labelling) == {"a": ALL}
    assert labelling.item.id == "b"


def test_key_that_is_no_label_does_nothing(labelling):
    driven(labelling, "z", "q", "d", "x", "h")
    assert labelling.chosen == {"category": "debugging", "risk": "high"}


def test_choice_is_taken_back(labelling):
    driven(labelling, "d", "l", "backspace", "h", "m", "c")
    assert kept(labelling)["a"] == ALL


def test_skipped_turn_is_not_labelled_and_comes_again(labelling):
    driven(labelling, "space", *"wlfn")
    assert list(kept(labelling)) == ["b"]
    assert labelling.item.id == "c"


def test_undo_brings_the_last_turn_back(labelling):
    driven(labelling, *"dhmc", "ctrl+z")
    assert kept(labelling) == {}
    assert labelling.item.id == "a"
    assert labelling.n_labelled == 0


def test_undo_goes_back_over_a_skip(labelling):
    driven(labelling, *"dhmc", "space", "ctrl+z", "ctrl+z", *"wlfn")
    assert kept(labelling)["a"]["category"] == "docs"


def test_undo_at_the_beginning_changes_nothing(labelling):
    driven(labelling, "ctrl+z")
    assert labelling.item.id == "a"
    assert not labelling.path.exists()


def test_guess_is_hidden_until_asked_for(labelling):
    assert "guess" not in driven(labelling, "d", look=lambda app: shown(app, "heads"))
    assert "ui 1.00, low 1.00" in driven(labelling, "question_mark", look=lambda app: shown(app, "heads"))


def test_label_remembers_that_the_guess_was_seen(labelling):
    driven(labelling, "question_mark", *"dhmc", *"wlfn")
    rows = [json.loads(line) for line in labelling.path.read_text().splitlines()]
    assert [row["guess_seen"] for row in rows] == [True, False]


def test_guess_is_shown_once_the_person_has_chosen(labelling):
    assert "last one for ui 1.00, low" in driven(labelling, *"dhmc", look=lambda app: shown(app, "status"))


def test_text_of_a_turn_is_no_markup(labelling):
    prompt, context = driven(labelling, look=lambda app: (shown(app, "prompt"), shown(app, "context")))
    assert "still [red]broken[/red]" in prompt
    assert "assistant: Fixed [it]." in context


def test_prompt_is_in_sight_behind_a_long_talk(tmp_path):
    talk = tuple(Message("assistant", f"Line {n}.\n" * 30) for n in range(4))
    labelling = Labelling([Item("a", "ship it", talk, assessed("ui", "low"))], tmp_path / "labels.jsonl", ANNA)
    window, prompt, before = driven(
        labelling,
        look=lambda app: (app.screen.region, app.query_one("#prompt").region, app.query_one("#before")),
        size=(80, 24),
    )
    assert window.contains_region(prompt)
    assert before.scroll_offset.y == before.max_scroll_y > 0


def test_guide_is_a_list_in_its_narrow_column():
    listed = as_list(section_of("category"))
    assert "|" not in listed
    assert "- **docs**: words about code. *includes*: README," in listed
    assert all(f"- **{label}**: " in listed for label in HEADS["category"])
    assert as_list(section_of("risk")) == section_of("risk")


def test_guide_follows_the_head_and_can_be_hidden(labelling):
    source = driven(labelling, "d", look=lambda app: app.query_one("#section").source)
    assert source.startswith("## risk")
    assert driven(labelling, "f1", look=lambda app: app.query_one("#guide").display) is False


def test_end_of_the_queue_takes_no_keys(labelling):
    text = driven(labelling, "space", "space", "space", *"dhmc", look=lambda app: shown(app, "prompt"))
    assert "The queue is empty" in text
    assert kept(labelling) == {}


def test_app_ends_with_the_number_of_labelled_turns(labelling):
    async def drive():
        app = LabelApp(labelling)
        async with app.run_test() as pilot:
            await pilot.press(*"dhmc", "ctrl+q")
        return app.return_value

    assert asyncio.run(drive()) == 1


def rows(n):
    words = ("fix the crash in the parser", "explain how the cache does work", "login token password bug")
    return [{"id": f"t{i}", "prompt": f"{words[i % 3]} {i}", "context": []} for i in range(n)]


def queue(tiny_assessor, labels=(), turns=None, **options):
    options = {"by": ANNA, "limit": 5} | options
    catalog, policy = Catalog.load("anthropic-dashscope"), Policy.load("balanced")
    return queue_of(turns or rows(9), labels, tiny_assessor, catalog, policy, **options)


def test_queue_holds_the_guess_and_the_worth_of_each_turn(tiny_assessor):
    items = queue(tiny_assessor, limit=9)
    assert {item.id for item in items} == {f"t{i}" for i in range(9)}
    assert all(item.guess is not None for item in items)
    assert max(item.value_usd for item in items) > 0


def test_shorter_queue_is_the_beginning_of_a_longer_one(tiny_assessor):
    assert queue(tiny_assessor, limit=3) == queue(tiny_assessor, limit=9)[:3]


def test_next_session_leaves_out_what_was_labelled(tiny_assessor, tmp_path):
    first = queue(tiny_assessor)[0]
    path = tmp_path / "labels.jsonl"
    labelling = Labelling([first], path, ANNA)
    for label in ALL.values():
        labelling.choose(label)
    assert first.id not in {item.id for item in queue(tiny_assessor, [path], limit=9)}
    assert first.id in {item.id for item in queue(tiny_assessor, [path], by="person:ben", limit=9)}


def test_turn_without_text_cannot_be_labelled(tiny_assessor):
    assert queue(tiny_assessor, turns=[{"id": "a", "digest": "x"}]) == []

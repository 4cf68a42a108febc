"""Replacing the model of a body leaves everything else to the byte."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.serving.gateways.model_field import with_model

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("model"), inner),
)


@given(st.dictionaries(st.text(), JSON), st.text(), st.text(min_size=1), st.data())
def test_only_the_top_model_changes(fields, old, new, data):
    place = data.draw(st.integers(0, len(fields)))
    fields.pop("model", None)
    items = list(fields.items())
    body = dict([*items[:place], ("model", old), *items[place:]])
    changed = with_model(json.dumps(body).encode(), new)
    assert json.loads(changed) == body | {"model": new}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b'"model"',
        b"[]",
        b'["model", "x"]',
        b"{}",
        b'{"model": 7}',
        b'{"a": {"model": "x"}}',
        b'{"model',
    ],
)
def test_body_without_a_model_stays_as_it_is(body):
    assert with_model(body, "new") == body


def test_numbers_and_spaces_stay_as_they_are():
    body = b'{ "n": 123456789012345678901234567890.10, "model" : "a\\"b", "m":1E400}'
    assert with_model(body, "c") == b'{ "n": 123456789012345678901234567890.10, "model" : "c", "m":1E400}'

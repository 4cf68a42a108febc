"""Replaces the top-level "model" of a JSON body and leaves every other byte as it is.

The body is not parsed and written again: numbers beyond a float and the order of keys are the client's.
"""

import re
from typing import Final

import orjson

_STRING: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN: Final = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)
_VALUE: Final = re.compile(rb"\s*:\s*(" + _STRING + rb")", re.DOTALL)
_OPENING: Final = frozenset({b"{", b"["})


def with_model(body: bytes, model: str) -> bytes:
    """Return the body with another model; as it is where it names none at the top."""
    depth = 0
    for token in _TOKEN.finditer(body):
        text = token[0]
        if text == b'"model"' and depth == 1 and (value := _VALUE.match(body, token.end())):
            return body[: value.start(1)] + orjson.dumps(model) + body[value.end(1) :]
        if not text.startswith(b'"'):
            depth += 1 if text in _OPENING else -1
    return body

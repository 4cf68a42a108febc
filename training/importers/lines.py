"""Lines of a log as JSON objects: a broken line is counted and located, never fatal."""

import re
from collections.abc import Iterator
from typing import BinaryIO, Final

import orjson

from pointsman.classifier.request import parse_body

from .protocol import Location, Problems

#: Longer lines hold images or whole file trees; no prompt is that long.
MAX_LINE_BYTES: Final = 64 * 2**20

NOT_JSON: Final = "not a JSON object"
TOO_LONG: Final = f"line longer than {MAX_LINE_BYTES // 2**20} MiB"
#: Escapes of JSON; of a pair of surrogates both, and one that stands alone, which no text can hold, by name.
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<alone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def read_rows(location: Location, problems: Problems) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield line number and object of each line that holds one.

    The last line may still be being written: without its line end it counts only when it is whole.
    """
    name = location.address
    with open(name, "rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            problems.n_bytes += len(line)
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                problems.add(f"{name}:{number}", TOO_LONG)
                _skip_line(file)
                continue
            if not line.strip():
                continue
            value = as_object(line)
            if value is None:
                problems.add(f"{name}:{number}", NOT_JSON)
                continue
            yield number, value


def _skip_line(file: BinaryIO) -> None:
    while (part := file.readline(MAX_LINE_BYTES)) and not part.endswith(b"\n"):
        pass


def as_object(text: bytes | str) -> dict[str, object] | None:
    """Parse one JSON object; None when it is none."""
    value = as_value(text)
    return value if isinstance(value, dict) else None


def as_value(text: bytes | str) -> object:
    """Parse JSON; None when it is none. Half a character, cut out of a pair by its client, is a replacement character.

    JSON may name such a half, but neither UTF-8 nor a file of turns can hold it.
    """
    text = text.replace(b"\0", b"") if isinstance(text, bytes) else text
    try:
        return orjson.loads(text)
    except ValueError:
        pass
    text = text.decode("utf-8-sig", "replace") if isinstance(text, bytes) else text
    text = text.encode("utf-8", "replace").decode()
    return parse_body(_ESCAPE.sub(lambda found: r"\ufffd" if found["alone"] else found[0], text))[0]


def as_dict(value: object) -> dict[str, object]:
    """Return the mapping inside a row, or an empty one: a field of the wrong type is as good as none."""
    return value if isinstance(value, dict) else {}


def as_text(value: object) -> str | None:
    """Return a string that is not empty."""
    return value if isinstance(value, str) and value else None


def as_count(value: object) -> int:
    """Return a number of tokens; 0 for what is none."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def as_amount(value: object) -> float:
    """Return an amount of money; 0 for what is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9 else 0.0

"""Lines of a log as JSON objects: a broken line is counted and located, never fatal."""

from collections.abc import Iterator
from typing import BinaryIO, Final

from pointsman.classifier.request import parse_body

from .protocol import Location, Problems

#: Longer lines hold images or whole file trees; no prompt is that long.
MAX_LINE_BYTES: Final = 64 * 2**20

NOT_JSON: Final = "not a JSON object"
TOO_LONG: Final = f"line longer than {MAX_LINE_BYTES // 2**20} MiB"


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
    value, _ = parse_body(text.replace(b"\0", b"") if isinstance(text, bytes) else text)
    return value if isinstance(value, dict) else None


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

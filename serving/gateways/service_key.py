"""The API key that a gateway shows the service: from its settings, best by the name of a variable."""

import os
from typing import Final

#: Read where the settings name no key.
VARIABLE: Final = "POINTSMAN_KEY"
# LiteLLM's own way to name a variable, and the shell's.
_MARKS: Final = ("os.environ/", "$")


def read_key(named: str | None, place: str) -> str | None:
    """Return the key: out of the variable that is named, or as it stands; None where there is none.

    Parameters
    ----------
    named : str or None
        `$NAME`, `os.environ/NAME` or the key itself; None takes `POINTSMAN_KEY`, where that is set.
    place : str
        Where the setting stands, for the message.

    Raises
    ------
    ValueError
        The variable that is named is not set.
    """
    if not named:
        return os.environ.get(VARIABLE, "").strip() or None
    mark = next((mark for mark in _MARKS if named.startswith(mark)), None)
    if mark is None:
        return named
    variable = named.removeprefix(mark)
    if not (key := os.environ.get(variable, "").strip()):
        msg = f"{place}: {variable} is not set. Export it, or remove the setting."
        raise ValueError(msg)
    return key

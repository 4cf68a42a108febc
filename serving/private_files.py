"""SQLite files that their service's account alone may read."""

import os
from contextlib import suppress
from pathlib import Path


def make_private(path: str | Path) -> None:
    """Make a file for this account alone before SQLite does; SQLite makes those beside it likewise.

    One that is there is never opened: closing it would drop the locks that this process holds on it, and another one,
    thinking itself alone, would throw the write-ahead log away.

    Raises
    ------
    OSError
        The file cannot be made.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

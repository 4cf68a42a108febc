"""PostgreSQL connections that never wait without end: a server that hangs is told from one that works.

`statement_timeout` is kept by the server itself, so it does not help where the server is frozen or the network swallows
what is sent; this is kept on our side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

if TYPE_CHECKING:
    from psycopg.abc import PQGen

_T = TypeVar("_T")


class AnswerTimeoutError(psycopg.OperationalError):
    """The server did not answer a statement in time; the connection is closed."""


def bounded_connection(timeout_s: float) -> type[psycopg.Connection[Any]]:
    """Return a connection class that waits for each statement, a commit too, for at most this long."""

    class BoundedConnection(psycopg.Connection[Any]):
        def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
            try:
                return super().wait(gen, interval, timeout_s if timeout is None else timeout)
            except psycopg.errors._WaitTimeout:
                # Its answer may still come, and would be taken for the next statement's.
                self.pgconn.finish()
                raise AnswerTimeoutError(f"no answer after {timeout_s:g} s") from None

    return BoundedConnection

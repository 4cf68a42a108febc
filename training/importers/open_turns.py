"""Turns that are still open while requests of many sessions come mixed, in the order of time."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from .protocol import ImportedTurn

MAX_OPEN: Final = 10_000


class OpenTurns:
    """One open turn per session; of sessions not seen for long, the turn is ended and the session forgotten."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, tuple[str, ImportedTurn]] = OrderedDict()
        self._chains: OrderedDict[str, str] = OrderedDict()

    def session_of(self, session_id: str | None, story_key: str, next_state_key: str, *, named: str | None) -> str:
        """Return the session of a turn; without the client's name for it, by the chain of its prompts."""
        if session_id is not None:
            return story_key
        chains = self._chains
        session = chains.get(next_state_key) or chains.get(story_key) or named or next_state_key
        chains[next_state_key] = session
        if len(chains) > MAX_OPEN:
            chains.popitem(last=False)
        return session

    def current(self, session: str, turn_key: str) -> ImportedTurn | None:
        """Return the open turn of a session if it is this one."""
        known = self._open.get(session)
        return known[1] if known is not None and known[0] == turn_key else None

    def begin(self, turn: ImportedTurn, turn_key: str) -> Iterator[ImportedTurn]:
        """Open a turn; yield the one that it ends."""
        before = self._open.pop(turn.session, None)
        if before is not None:
            turn.position = before[1].position + 1
            yield before[1]
        self._open[turn.session] = (turn_key, turn)
        if len(self._open) > MAX_OPEN:
            yield self._open.popitem(last=False)[1][1]

    def finish(self) -> Iterator[ImportedTurn]:
        """Yield what is still open."""
        while self._open:
            yield self._open.popitem(last=False)[1][1]

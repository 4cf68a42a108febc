"""What every importer gives: turns in the order of their session, and the places it could not read.

An importer reads one kind of log and knows nothing of masking, features, ids or the output. It streams: what it holds
in memory is bounded by one line and the last messages of the open conversations, never by the length of the log.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlencode

from pointsman.classifier.assessment import Kind, Message

#: How many unreadable places are named; the rest is counted only.
MAX_LOCATED: Final = 20
# As SQLAlchemy reads a URL: a password may hold what else would end the server's name.
_USER: Final = re.compile(r"^[^:/]*(?::[^@]*)?@")
#: Of the options in a URL, those that name the store and not its reader.
_SAYS_WHERE: Final = frozenset({"host", "hostaddr", "port", "dbname", "service", "options"})


@dataclass(slots=True)
class Usage:
    """Tokens of one turn, each message of the provider counted once."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    n_messages: int = 0
    cost_usd: float = 0.0

    def add(self, other: "Usage") -> None:
        self.input_tokens += other.input_tokens
        self.cache_read_tokens += other.cache_read_tokens
        self.cache_write_tokens += other.cache_write_tokens
        self.output_tokens += other.output_tokens
        self.n_messages += other.n_messages
        self.cost_usd = round(self.cost_usd + other.cost_usd, 9)


@dataclass(slots=True)
class ImportedTurn:
    """One prompt with what stood before it and what the agent then did. Text is masked already.

    Attributes
    ----------
    session, project : str
        As the log names them; the output holds digests only.
    uid : str or None
        The client's own id of the prompt: a copy of the row in a resumed session has the same.
    prompt : str or None
        None where the source kept no text.
    position : int
        Counted within the session.
    models : list of str
        In order of first use.
    is_interrupted : bool
        The person stopped the agent.
    is_undone : bool
        The person took the work back with a command of the client: a rewind, an undo.
    tests : str or None
        How the last test run in the turn ended: `passed` or `failed`.
    n_commits, n_reverts : int
        Commands of the agent that commit, and that take work back.
    labels : dict
        Labels by head where the source has any, and `sure`.
    votes : list of dict
        The same with who gave them, under `source`: one entry for each person or judgement.
    outcome : str or None
        As feedback said, out of `records.OUTCOMES`.
    extra : dict
        Further plain values of the source that go to the output as they are.
    """

    session: str
    prompt: str | None
    context: tuple[Message, ...] = ()
    project: str = ""
    uid: str | None = None
    position: int = 0
    kind: Kind = Kind.TASK
    at: str | None = None
    last_at: str | None = None
    models: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    n_tool_calls: int = 0
    n_tool_errors: int = 0
    n_api_errors: int = 0
    n_media: int = 0
    tests: str | None = None
    n_commits: int = 0
    n_reverts: int = 0
    is_interrupted: bool = False
    is_undone: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    votes: list[dict[str, str]] = field(default_factory=list)
    outcome: str | None = None
    extra: dict[str, object] = field(default_factory=dict)

    def add_model(self, model: object) -> None:
        # Claude Code writes error texts under a name of its own.
        if isinstance(model, str) and model and model != "<synthetic>" and model not in self.models:
            self.models.append(model)


@dataclass(slots=True)
class Problems:
    """Places that could not be read: counted by kind, the first ones located. Never holds text of the log.

    `n_bytes` is how far the reader has come in the source, where it reads lines.
    """

    counts: Counter[str] = field(default_factory=Counter)
    located: list[str] = field(default_factory=list)
    n_bytes: int = 0

    def add(self, where: str, what: str) -> None:
        """Count one unreadable place and remember where it is."""
        self.counts[what] += 1
        if len(self.located) < MAX_LOCATED:
            self.located.append(f"{where}: {what}")

    def skip(self, what: str) -> None:
        """Count a row that was left out on purpose."""
        self.counts[what] += 1


class SourceLostError(Exception):
    """A source could not be read to its end: it is gone, closed to this user, or damaged."""


class Cleaner(Protocol):
    """Takes secrets and names out of a text (`masking.Masker`)."""

    def clean(self, text: str) -> str: ...

    def learn_path(self, path: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Location:
    """Where a source is: a file, or the URL of a database."""

    address: str

    @property
    def is_url(self) -> bool:
        return "://" in self.address

    @property
    def name(self) -> str:
        """What a source is known by: its path, or its URL without who reads it and how."""
        return name_of(self.address)


def name_of(address: str) -> str:
    """Take user, password and options out of a URL: what stays says which store it is, whoever reads it."""
    if "://" not in address:
        return address
    scheme, _, rest = address.partition("://")
    place, _, query = _USER.sub("", rest).partition("?")
    kept = [(key, value) for key, value in parse_qsl(query) if key in _SAYS_WHERE]
    return f"{scheme}://{place}{'?' * bool(kept)}{urlencode(kept, safe='/:,')}"


class Importer(Protocol):
    """Reads one kind of log."""

    kind: str

    def recognises(self, location: Location, head: str) -> bool:
        """Say whether a source is of this kind, by its name and first characters (`head` is empty for a URL)."""
        ...

    def turns(self, location: Location, cleaner: Cleaner, problems: Problems) -> Iterator[ImportedTurn]:
        """Yield the turns of one source; those of one session in their order."""
        ...

"""Who sends a request, and the keys under which its turn and its session are found again.

Only the headers named here are ever looked at: credentials that a gateway forwards are neither read nor kept. Of
a person's words a key holds a hash only.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Final

_SESSION_HEADERS: Final = (
    "x-pointsman-session",
    "x-claude-code-session-id",
    "session-id",
    "thread-id",
    "x-session-id",
    "x-session-affinity",
)
_AGENT_HEADER: Final = "x-claude-code-agent-id"
_KNOWN_HEADERS: Final = frozenset(
    {*_SESSION_HEADERS, _AGENT_HEADER, "x-openai-subagent", "anthropic-version", "anthropic-beta"}
)
_BILLING_MARK: Final = "x-anthropic-billing-header:"
_SUBAGENT_FLAG: Final = "cc_is_subagent=true"
_MAX_ID_CHARS: Final = 200
_MAX_USER_ID_CHARS: Final = 4_096
_PIECE_CHARS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Identity:
    """The names a client gives to its session and agent."""

    session_id: str | None = None
    agent_id: str | None = None
    is_subagent: bool = False


def known_headers(headers: object) -> dict[str, str]:
    """Keep the headers routing reads, with lower-case names; `_` counts as `-` (Codex has sent both)."""
    if not isinstance(headers, Mapping):
        return {}
    named = ((name.lower().replace("_", "-"), value) for name, value in headers.items() if isinstance(name, str))
    return {name: value for name, value in named if name in _KNOWN_HEADERS and isinstance(value, str)}


def read_identity(
    body: Mapping[str, object], headers: Mapping[str, str], *, session_id: str | None = None, system: Iterable[str] = ()
) -> Identity:
    """Find session and agent: the caller's word first, then the headers, then the body.

    Parameters
    ----------
    body : mapping
        The request, or a digest of one.
    headers : mapping of str to str
        As `known_headers` returns them.
    session_id : str, optional
        The caller's own knowledge.
    system : iterable of str
        Text blocks of the system prompt; Claude Code marks subagents there when a gateway drops its headers.
    """
    agent_id = bounded_id(headers.get(_AGENT_HEADER))
    thread, parent = bounded_id(headers.get("thread-id")), bounded_id(headers.get("session-id"))
    if agent_id is None and thread and parent and thread != parent:
        # A subagent of Codex has a thread of its own inside its parent's session.
        agent_id = thread
    billed = any(text.startswith(_BILLING_MARK) and _SUBAGENT_FLAG in text for text in system)
    return Identity(
        session_id=bounded_id(session_id)
        or (_first_id(map(headers.get, _SESSION_HEADERS)) if headers else None)
        or _first_id(_body_sessions(body)),
        agent_id=agent_id,
        is_subagent=agent_id is not None or billed or bool(headers.get("x-openai-subagent")),
    )


def _first_id(values: Iterable[object]) -> str | None:
    return next((found for value in values if (found := bounded_id(value))), None)


def bounded_id(value: object) -> str | None:
    """Return an identifier that any store takes: not empty, at most 200 characters, printable as UTF-8."""
    if not isinstance(value, str) or not (stripped := value.strip()):
        return None
    name = storable(stripped)
    # A digest that every language has at hand: clients name sessions, too.
    return name if len(stripped) <= _MAX_ID_CHARS else f"sha256:{sha256(name.encode()).hexdigest()}"


def storable(text: str) -> str:
    """Replace what UTF-8 or a database cannot hold: lone surrogates and NUL."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def hash_parts(*parts: object) -> str:
    """Hash the parts in order; no two different lists of parts run together."""
    state = blake2b(digest_size=16)
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()


def normalised(text: str) -> str:
    """Make every run of white space one space: clients re-wrap a message when its cache mark moves on."""
    if len(text) <= _PIECE_CHARS:
        return " ".join(text.split())
    # Piece by piece: the words of 32 MiB at once are 400 MB of small strings.
    kept: list[str] = []
    is_apart = False
    for start in range(0, len(text), _PIECE_CHARS):
        piece = text[start : start + _PIECE_CHARS]
        words = " ".join(piece.split())
        if words:
            if kept and (is_apart or piece[0].isspace()):
                kept.append(" ")
            kept.append(words)
        is_apart = piece[-1].isspace()
    return "".join(kept)


@dataclass(frozen=True, slots=True)
class TurnKeys:
    """Where the decision of a turn and the state of its session are kept.

    `is_shared` says that another person's conversation may have the same key before this turn.
    """

    turn: str = ""
    before: str = ""
    after: str = ""
    is_shared: bool = False

    @classmethod
    def of(
        cls,
        who: Identity,
        *,
        before: str,
        after: str,
        turn: tuple[object, ...],
        agent: str | None = None,
        is_shared: bool = False,
    ) -> "TurnKeys":
        """Make the keys of a turn; the session's name replaces the hashes before and after where it is known."""
        agent = who.agent_id or agent
        if who.session_id is not None:
            before = after = who.session_id if agent is None else f"{who.session_id}/{agent}"
        is_shared = is_shared and who.session_id is None
        return cls(hash_parts("turn", before, *turn) if before else "", before, after, is_shared)


def _body_sessions(body: Mapping[str, object]) -> Iterable[object]:
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        yield _session_of_user(metadata.get("user_id"))
        yield metadata.get("session_id")
    yield body.get("prompt_cache_key")
    client = body.get("client_metadata")
    if isinstance(client, dict):
        yield client.get("session_id")


def _session_of_user(user_id: object) -> object:
    """Read the session out of Claude Code's `metadata.user_id`: JSON today, `user_.._session_<uuid>` before."""
    if not isinstance(user_id, str) or len(user_id) > _MAX_USER_ID_CHARS:
        return None
    if user_id.lstrip().startswith("{"):
        try:
            fields = json.loads(user_id)
        except (ValueError, RecursionError):
            return None
        return fields.get("session_id") if isinstance(fields, dict) else None
    head, mark, session = user_id.rpartition("_session_")
    return session if mark and head.startswith("user_") else None

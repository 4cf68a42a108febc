"""API keys: how they look, what is kept of them, and what each may do.

A key is `psm_<id>_<secret>`. The id finds it, its SHA-256 proves it. The secret has 256 random bits, so a fast
digest without salt is enough: there is nothing to guess. The key itself is shown once and kept nowhere.
"""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, get_args

from pointsman.classifier.records import utc_now

Role = Literal["decide", "feedback", "view", "review", "operate"]
#: decide: ask and classify; feedback: judge decisions; view: the console without text; review: read decisions back and
#: label them; operate: metrics, versions, changes.
ROLES: Final[tuple[Role, ...]] = get_args(Role)
#: The service's own header; `authorization` and `x-api-key` often carry the provider's key instead.
KEY_HEADER: Final = "x-pointsman-key"

_MARK: Final = "psm"
_N_ID_BYTES: Final = 6
_N_SECRET_BYTES: Final = 32
_MAX_CHARS: Final = 128
# Compared against where no such id is: an unknown id takes the time that a known one takes.
_NO_DIGEST: Final = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of one key.

    Attributes
    ----------
    digest : str
        SHA-256 of the whole key, in hexadecimal.
    expires_at, revoked_at : str or None
        UTC, ISO 8601; the key is refused from then on.
    replaces : str or None
        Id of the key that this one was rotated from.
    rate : str or None
        Its own limit, such as `600/minute`; None takes the service's.
    """

    key_id: str
    name: str
    roles: frozenset[Role]
    digest: str
    created_at: str
    created_by: str
    expires_at: str | None = None
    revoked_at: str | None = None
    replaces: str | None = None
    rate: str | None = None

    def is_active(self, now: str) -> bool:
        """Say whether the key is good at this time."""
        return all(end is None or now < end for end in (self.expires_at, self.revoked_at))

    def matches(self, presented: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.digest, digest_of(presented))


def make_key(
    name: str,
    roles: Iterable[Role],
    *,
    created_by: str,
    expires_at: str | None = None,
    replaces: str | None = None,
    rate: str | None = None,
) -> tuple[str, ApiKey]:
    """Return a new key, to be shown once, and what is kept of it."""
    key_id = secrets.token_hex(_N_ID_BYTES)
    text = f"{_MARK}_{key_id}_{secrets.token_hex(_N_SECRET_BYTES)}"
    kept = ApiKey(
        key_id=key_id,
        name=name,
        roles=frozenset(roles),
        digest=digest_of(text),
        created_at=utc_now(),
        created_by=created_by,
        expires_at=expires_at,
        replaces=replaces,
        rate=rate,
    )
    return text, kept


def digest_of(presented: str) -> str:
    """Return what is kept of a key."""
    return sha256(presented.encode("utf-8", "surrogatepass")).hexdigest()


def id_of(presented: str) -> str | None:
    """Return the id inside a key; None for a text that is no key of this service."""
    mark, _, rest = presented[:_MAX_CHARS].partition("_")
    key_id, _, secret = rest.partition("_")
    return key_id if mark == _MARK and len(key_id) == 2 * _N_ID_BYTES and secret else None


def refuse_in_same_time(presented: str) -> None:
    """Do for an unknown id what `matches` does for a known one."""
    hmac.compare_digest(_NO_DIGEST, digest_of(presented))


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the key that a request carries.

    `x-pointsman-key` wins. Without it a bearer token counts when it has the form of a key of this service: any other
    is the provider's, forwarded by a gateway with its client's headers.
    """
    bearer: str | None = None
    for raw_name, raw_value in headers:
        name = raw_name.lower().replace(b"_", b"-")
        if name == KEY_HEADER.encode():
            return raw_value.decode("latin-1").strip()
        if name == b"authorization":
            scheme, _, token = raw_value.decode("latin-1").strip().partition(" ")
            if scheme.lower() == "bearer" and id_of(token.strip()) is not None:
                bearer = token.strip()
    return bearer

"""Who is let in: which role a path needs, whose key that is, and how often it may come.

What is not listed here needs the role `operate`: a route that is added later is closed until someone opens it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from starlette.types import Scope

from .console.cookies import is_console
from .errors import ForbiddenError, ForeignPageError, RateLimitedError, SettingsError, UnauthenticatedError
from .keyring import KeyRing
from .keys import ROLES, ApiKey, Role
from .rates import Rates
from .settings import Settings, is_loopback
from .store import Store
from .telemetry import REFUSED, Telemetry

_EVERYONE: Final = frozenset(
    {"/healthz", "/livez", "/readyz", "/docs", "/openapi.json", "/", "/console/sign-in", "/console/sign-out"}
)
#: Style and scripts of the console, which the page to sign in needs too.
_STATIC: Final = "/console/static/"
_ROLES: Final[dict[str, frozenset[Role]]] = {
    "/v1/decide": frozenset({"decide"}),
    "/v1/classify": frozenset({"decide"}),
    "/v1/models": frozenset({"decide", "review", "operate"}),
    "/v1/feedback": frozenset({"feedback"}),
    "/v1/decisions": frozenset({"review"}),
    # Whoever may ask for a session's decision may ask which one it was; its words are not told.
    "/v1/sessions": frozenset({"decide", "review"}),
    "/capabilities": frozenset({"decide"}),
    "/route": frozenset({"decide"}),
    "/outcome": frozenset({"feedback"}),
    "/feedback": frozenset({"feedback"}),
    "/v1/savings": frozenset({"review", "operate"}),
    # The longer path first: the first that fits counts.
    "/console/review": frozenset({"review"}),
    "/console/models/apply": frozenset({"operate"}),
    "/console/audit": frozenset({"operate"}),
    "/console": frozenset({"view", "review", "operate"}),
}
_OTHERS: Final[frozenset[Role]] = frozenset({"operate"})

_TELLING: Final = frozenset({b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"})

PRESENTED: Final = "pointsman.presented_key"
#: Where a request's `Identity` is found once it was let in.
IDENTITY: Final = "pointsman.identity"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who was let in: the name of a key, and what it may do."""

    name: str
    roles: frozenset[Role]


#: Where no key is asked for, everyone is the same person and may do everything.
ANYONE: Final = Identity("anyone", frozenset(ROLES))

Refusal = (UnauthenticatedError, ForbiddenError, ForeignPageError, RateLimitedError)


def roles_for(path: str) -> frozenset[Role] | None:
    """Return the roles of which a path needs one; None where it needs no key."""
    if path in _EVERYONE or path.startswith(_STATIC):
        return None
    for prefix, roles in _ROLES.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return roles
    return _OTHERS


class Access:
    """Decides on each request before anything else looks at it."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings, self._telemetry = settings, telemetry
        self._ring: KeyRing | None = None
        self._rates: Rates | None = None
        self._keeping: asyncio.Task[None] | None = None

    def load(self, store: Store) -> None:
        """Read the keys; blocks.

        Raises
        ------
        SettingsError
            Keys are needed and there is none.
        """
        ring = KeyRing(store, self._telemetry)
        ring.read()
        if self._settings.checks_keys() and not ring.n_active():
            raise SettingsError([_no_keys(self._settings)])
        self._ring = ring

    def start(self) -> None:
        """Count rates and follow changes of the keys, from now on, on the running loop."""
        self._rates = Rates(self._telemetry, self._settings.sessions_url)
        if self._ring is not None:
            self._keeping = asyncio.create_task(self._ring.keep_up())

    async def stop(self) -> None:
        """End what `start` began."""
        if self._keeping is not None:
            self._keeping.cancel()
            # A look under way ends before the store closes under it.
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._rates is not None:
            await self._rates.close()

    async def admit(self, scope: Scope, path: str) -> None:
        """Let a request in, or raise one of `Refusal`."""
        roles = roles_for(path)
        if roles is None:
            return
        try:
            who, rate = await self._identify(scope, path, roles)
            if rate is not None and self._rates is not None:
                await self._rates.count(who, rate)
        except Refusal as exc:
            self._telemetry.observe(REFUSED, cause=_CAUSES[type(exc)])
            raise

    async def key_of(self, presented: str) -> ApiKey:
        """Return the key behind a text, or raise `UnauthenticatedError`."""
        if self._ring is None:
            raise UnauthenticatedError(is_given=True)
        return await self._ring.find(presented)

    def asks_for_keys(self, scope: Scope) -> bool:
        """Say whether this request needs a key wherever a role is needed."""
        return self._settings.checks_keys() or self._is_unexpected(scope)

    async def _identify(self, scope: Scope, path: str, roles: frozenset[Role]) -> tuple[str, str | None]:
        if not self.asks_for_keys(scope):
            # Deciding is left out: a gateway passes on whatever its client sent, and the answer is no secret.
            if self._settings.keys == "auto" and roles != {"decide"}:
                refuse_foreign_page(scope, is_page=is_console(path))
            scope[IDENTITY] = ANYONE
            client = scope.get("client")
            return f"address:{client[0] if client else 'unknown'}", self._settings.rate_limit
        presented: str | None = scope.get(PRESENTED)
        if not presented:
            raise UnauthenticatedError(is_given=False)
        key = await self.key_of(presented)
        if not roles & key.roles:
            raise ForbiddenError(" or ".join(sorted(roles)))
        scope[IDENTITY] = Identity(key.name, key.roles)
        return f"key:{key.key_id}", key.rate or self._settings.rate_limit

    def _is_unexpected(self, scope: Scope) -> bool:
        """Say whether a request came in over the network though the settings say this machine only.

        Another server may run the app on an address that the settings do not know of.
        """
        server = scope.get("server")
        return self._settings.keys == "auto" and server is not None and _is_public(str(server[0]))


@lru_cache(maxsize=64)
def _is_public(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False  # a socket in the file system, or no address at all
    return not is_loopback(address)


def refuse_foreign_page(scope: Scope, *, is_page: bool = False) -> None:
    """Raise `ForeignPageError` for what a browser sends on behalf of another site.

    A page can ask any address that its reader's machine reaches. Browsers say for whom they ask; and where a page's own
    name was made to point at this machine, the host is that name, with a dot in it and no address. A link to a page of
    the console may be followed from anywhere: the site that it stands on sees nothing of the answer.
    """
    headers = {name: value.decode("latin-1").lower() for name, value in scope["headers"] if name in _TELLING}
    host = headers.get(b"host", "")
    origin = headers.get(b"origin")
    is_foreign = headers.get(b"sec-fetch-site") in {"cross-site", "same-site"}
    if is_page and scope.get("method") == "GET":
        is_foreign &= (headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")) != ("navigate", "document")
    is_elsewhere = origin is not None and origin.partition("://")[2] != host
    if is_foreign or is_elsewhere or _is_public_name(host):
        raise ForeignPageError


@lru_cache(maxsize=64)
def _is_public_name(host: str) -> bool:
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return "." in name
    return False


def _no_keys(settings: Settings) -> str:
    if settings.keys == "on":
        why = "POINTSMAN_KEYS is 'on'"
    else:
        why = f"POINTSMAN_HOST: {settings.host!r} can be reached from other machines"
    return (
        f"{why}, and the store has no active API key. Make one: 'pointsman keys create NAME --role decide'. "
        "Or listen on 127.0.0.1. Or let everyone in with POINTSMAN_KEYS=off"
    )


_CAUSES: Final[dict[type[Exception], str]] = {
    UnauthenticatedError: "unauthenticated",
    ForbiddenError: "forbidden",
    ForeignPageError: "foreign_page",
    RateLimitedError: "rate_limited",
}

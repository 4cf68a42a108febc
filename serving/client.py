"""Asks the service from Python: an answer comes within the deadline, or the safe model does.

Credentials never travel: of the headers only those that name session and agent are sent on, and neither proxies,
cookies nor `.netrc` of the process are used.

>>> from pointsman.client import Client
>>> client = Client("http://127.0.0.1:8095", safe_model="claude-opus-5-5")  # doctest: +SKIP
>>> client.decide({"prompt": "fix the typo in the README"}).model  # doctest: +SKIP
'claude-haiku-5-5'
"""

import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, Self

import httpx
import orjson
from anyio.from_thread import start_blocking_portal

from .asker import Asker
from .envelope import Request, sealed
from .fail_open import Choice, Failure, NoDecisionError
from .keys import KEY_HEADER

logger = logging.getLogger(__name__)

__all__ = ["AsyncClient", "Choice", "Client", "Failure"]

DEFAULT_URL: Final = "http://127.0.0.1:8095"
_FEEDBACK_TIMEOUT_S: Final = 15.0
_ADVISED_EVERY_S: Final = 3600
# A decision is a few KB; an address that is not the service's may send anything.
_MAX_ANSWER_BYTES: Final = 1024 * 1024
# The server closes idle connections after 5 s: ours go first, so that none is used while it closes.
_LIMITS: Final = httpx.Limits(max_keepalive_connections=20, keepalive_expiry=4.0)


class AsyncClient(Asker):
    """Asks the service over HTTP.

    Parameters
    ----------
    url : str
        Where the service listens.
    key : str, optional
        The service's API key, sent as `x-pointsman-key`; needed where the service asks for one.
    **options
        As for `Asker`; the deadline holds from connecting to the last byte.
    """

    def __init__(self, url: str = DEFAULT_URL, *, key: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        if key is not None and not (key.isascii() and key.isprintable() and key.strip()):
            msg = "key: expected printable ASCII, as 'pointsman keys create' prints it. Check where it is read from."
            raise ValueError(msg)
        self._has_key = bool(key)
        self._advised_at: float | None = None
        headers = {"content-type": "application/json"} | ({KEY_HEADER: key} if key else {})
        # No timeout of its own: it would be for each operation, and the deadline is for all of them.
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=None, trust_env=False, limits=_LIMITS)  # noqa: S113

    async def feedback(self, decision_id: str, outcome: str, **fields: Any) -> str:
        """Tell how a decision went; returns the feedback's id once it is stored.

        Raises
        ------
        httpx.HTTPError
            The service is away or refused it. This is not on the way of any request, so nothing is hidden.
        """
        body = {"decision_id": decision_id, "outcome": outcome, **fields}
        answer = await self._http.post("/v1/feedback", json=body, timeout=_FEEDBACK_TIMEOUT_S)
        return str(answer.raise_for_status().json()["feedback_id"])

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _answer(self, request: Request, models: list[str] | None) -> object:
        content = sealed(request, {"models": models, "policy": self._policy})
        try:
            received = await self._send(content)
        except (httpx.HTTPError, OSError) as exc:
            raise NoDecisionError(Failure.UNREACHABLE, type(exc).__name__) from None
        try:
            return orjson.loads(received)
        except ValueError:
            raise NoDecisionError(Failure.GARBAGE, "the answer is no JSON") from None

    async def _send(self, content: bytes) -> bytes:
        async with self._http.stream("POST", "/v1/decide", content=content) as answer:
            if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
                self._advise(answer.status_code)
            if answer.status_code != httpx.codes.OK:
                raise NoDecisionError(Failure.STATUS, str(answer.status_code))
            received = bytearray()
            async for chunk in answer.aiter_bytes():
                received += chunk
                if len(received) > _MAX_ANSWER_BYTES:
                    raise NoDecisionError(Failure.GARBAGE, "the answer is too long")
        return bytes(received)

    def _advise(self, status: int) -> None:
        """Say what to do about a service that refuses the key, once an hour."""
        now = time.monotonic()
        if self._advised_at is not None and now - self._advised_at < _ADVISED_EVERY_S:
            return
        self._advised_at = now
        logger.warning(
            "Pointsman answers %d: it decides only for an API key with the role decide, and %s. Make one with "
            "'pointsman keys create NAME --role decide' and give it as `key`, which gateways read from POINTSMAN_KEY.",
            status,
            "refuses the one it got" if self._has_key else "got none",
        )


class Client:
    """`AsyncClient` for code without an event loop, with the same options. Safe to share between threads.

    It works in a thread of its own: only so does a deadline hold in all cases. After a fork, make a new one.
    """

    def __init__(self, url: str = DEFAULT_URL, **options: Any) -> None:
        with ExitStack() as opening:
            self._portal = opening.enter_context(start_blocking_portal(name="pointsman-client"))
            self._client = self._portal.call(partial(AsyncClient, url, **options))
            opening.callback(self._portal.call, self._client.aclose)
            self._closing = opening.pop_all()

    @property
    def counts(self) -> Counter[str]:
        """As `AsyncClient.counts`."""
        return self._client.counts

    def decide(
        self,
        body: Mapping[str, Any] | bytes,
        headers: Mapping[str, str] | None = None,
        *,
        path: str | None = None,
        session_id: str | None = None,
        models: Collection[str] | None = None,
    ) -> Choice:
        """Say which model takes a request, as `AsyncClient.decide`."""
        asking = partial(self._client.decide, body, headers, path=path, session_id=session_id, models=models)
        return self._portal.call(asking)

    def feedback(self, decision_id: str, outcome: str, **fields: Any) -> str:
        """Tell how a decision went, as `AsyncClient.feedback`."""
        return self._portal.call(partial(self._client.feedback, decision_id, outcome, **fields))

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""Asks the service from Python: an answer comes within the deadline, or the safe model does.

Credentials never travel: of the headers only those that name session and agent are sent on, and neither proxies,
cookies nor `.netrc` of the process are used.

>>> from pointsman.serving.client import Client
>>> client = Client("http://127.0.0.1:8095", safe_model="claude-opus-5-5")  # doctest: +SKIP
>>> client.decide({"prompt": "fix the typo in the README"}).model  # doctest: +SKIP
'claude-haiku-5-5'
"""

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, Self

import anyio
import httpx
import orjson
from anyio.from_thread import start_blocking_portal

from .envelope import Request, sealed
from .fail_open import Choice, FailOpen, Failure, NoDecisionError

__all__ = ["AsyncClient", "Choice", "Client", "Failure"]

DEFAULT_URL: Final = "http://127.0.0.1:8095"
DEFAULT_DEADLINE_MS: Final = 250
_FEEDBACK_TIMEOUT_S: Final = 15.0
# A decision is a few KB; an address that is not the service's may send anything.
_MAX_ANSWER_BYTES: Final = 1024 * 1024
# The server closes idle connections after 5 s: ours go first, so that none is used while it closes.
_LIMITS: Final = httpx.Limits(max_keepalive_connections=20, keepalive_expiry=4.0)


class AsyncClient:
    """Asks for decisions. One event loop; many requests at once.

    Parameters
    ----------
    url : str
        Where the service listens.
    safe_model, models
        As for `FailOpen`.
    policy : str, optional
        A preset in place of the service's own policy.
    deadline_ms : float
        For everything from connecting to the last byte. Behind it the safe model is taken.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        safe_model: str,
        models: Mapping[str, str] | Collection[str] | None = None,
        policy: str | None = None,
        deadline_ms: float = DEFAULT_DEADLINE_MS,
    ) -> None:
        if not deadline_ms > 0:
            msg = f"deadline_ms must be > 0, got {deadline_ms}; 250 is the default."
            raise ValueError(msg)
        self._fail_open = FailOpen(safe_model, models)
        self._policy = policy
        self._deadline_s = deadline_ms / 1000
        # No timeout of its own: it would be for each operation, and the deadline is for all of them.
        self._http = httpx.AsyncClient(base_url=url, timeout=None, trust_env=False, limits=_LIMITS)  # noqa: S113

    @property
    def counts(self) -> Counter[str]:
        """How often a decision came (`decided`), and how often none did, by cause."""
        return Counter(self._fail_open.counts)

    async def decide(
        self,
        body: Mapping[str, Any] | bytes,
        headers: Mapping[str, str] | None = None,
        *,
        path: str | None = None,
        session_id: str | None = None,
        models: Collection[str] | None = None,
    ) -> Choice:
        """Say which model takes a request; never raises, and never later than the deadline.

        Parameters
        ----------
        body : mapping or bytes
            The client's own body, parsed or as it came, or a digest `{"prompt": ...}`.
        headers : mapping of str to str, optional
            The client's own headers, credentials included: they stay here.
        path : str, optional
            The path that the client used; tells token counts and compaction from turns.
        session_id : str, optional
            When neither headers nor body name the session.
        models : collection of str, optional
            Of the catalogue's models, only these may take this request.
        """
        request = Request(body, headers or {}, path, session_id)
        detail = ""
        try:
            with anyio.fail_after(self._deadline_s):
                return self._fail_open.accept(request, await self._ask(request, models), models)
        except NoDecisionError as exc:
            failure, detail = exc.failure, exc.detail
        except TimeoutError:
            failure, detail = Failure.TIMEOUT, f"none within {self._deadline_s * 1000:.0f} ms"
        except (httpx.HTTPError, OSError) as exc:
            failure, detail = Failure.UNREACHABLE, type(exc).__name__
        except Exception as exc:  # whatever it was, the request behind this one still has to go somewhere
            failure, detail = Failure.ERROR, type(exc).__name__
        return self._fail_open.fail(request, failure, detail)

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

    async def _ask(self, request: Request, models: Collection[str] | None) -> object:
        content = sealed(request, {"models": self._fail_open.allowed(models), "policy": self._policy})
        headers = {"content-type": "application/json"}
        async with self._http.stream("POST", "/v1/decide", content=content, headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                raise NoDecisionError(Failure.STATUS, str(answer.status_code))
            received = bytearray()
            async for chunk in answer.aiter_bytes():
                received += chunk
                if len(received) > _MAX_ANSWER_BYTES:
                    raise NoDecisionError(Failure.GARBAGE, "the answer is too long")
        try:
            return orjson.loads(received)
        except ValueError:
            raise NoDecisionError(Failure.GARBAGE, "the answer is no JSON") from None


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

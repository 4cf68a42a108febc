"""What every way of asking from Python shares: one deadline over all of it, then the safe model, counted and logged."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

import anyio

from .envelope import Request
from .fail_open import Choice, FailOpen, Failure, NoDecisionError

DEFAULT_DEADLINE_MS: Final = 250


class Asker(ABC):
    """Asks for decisions. One event loop; many requests at once.

    Parameters
    ----------
    safe_model, models
        As for `FailOpen`.
    policy : str, optional
        A preset in place of the policy of whoever decides.
    deadline_ms : float
        From asking to the whole answer. Behind it the safe model is taken.
    """

    def __init__(
        self,
        *,
        safe_model: str,
        models: Mapping[str, str] | Collection[str] | None = None,
        policy: str | None = None,
        deadline_ms: float = DEFAULT_DEADLINE_MS,
    ) -> None:
        if not deadline_ms > 0:
            msg = f"deadline_ms must be > 0, got {deadline_ms}; {DEFAULT_DEADLINE_MS} is the default."
            raise ValueError(msg)
        self._fail_open = FailOpen(safe_model, models)
        self._policy = policy
        self._deadline_s = deadline_ms / 1000

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
                answer = await self._answer(request, self._fail_open.allowed(models))
                return self._fail_open.accept(request, answer, models)
        except NoDecisionError as exc:
            failure, detail = exc.failure, exc.detail
        except TimeoutError:
            failure, detail = Failure.TIMEOUT, f"none within {self._deadline_s * 1000:.0f} ms"
        except Exception as exc:  # whatever it was, the request behind this one still has to go somewhere
            failure, detail = Failure.ERROR, type(exc).__name__
        return self._fail_open.fail(request, failure, detail)

    @abstractmethod
    async def _answer(self, request: Request, models: list[str] | None) -> object:
        """Return the decision as the service's JSON has it, chosen out of `models` where they are given.

        Raises
        ------
        NoDecisionError
            There is none, and why. Anything else counts as an error of this side.
        """

"""What the service raises, and the one table from exception to HTTP status and machine code.

ServingError
├── SettingsError            a setting cannot be used; stops the start
├── UnauthenticatedError     no key of this service, or not a good one
├── ForbiddenError           the key lacks the role
├── ForeignPageError         a page of another site asks, where no key is asked for
├── FormTokenError           a form of the console without the token of its page
├── RateLimitedError         more requests than the key may send
├── BodyTimeoutError         the body did not arrive in time
├── KeyNotFoundError         no key, or several, are called so; on the command line alone
├── PayloadTooLargeError     the body is over the limit
├── OverloadedError          too many batches in wait
├── NotReadyError            no warm model yet
├── DecisionNotFoundError    no such decision
├── FeedbackConflictError    the feedback id is taken by other feedback
├── RecordRejectedError      the database will never take this record
└── StoreUnavailableError    the record store cannot be reached, read or written
    └── StoreVersionError    a newer version of this code migrated it; stops the start

Once a request is let in and its body is there, `POST /v1/decide` answers none of them: a gateway in front would
refuse its client.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pointsman.classifier.errors import BundleError, ClassifierError, InferenceError, InputError

RETRY_AFTER_S: Final = 1


class ServingError(Exception):
    """Base of every error this package raises on purpose."""


class SettingsError(ServingError):
    """A setting cannot be used."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))


class UnauthenticatedError(ServingError):
    """No key of this service, or not a good one."""

    def __init__(self, *, is_given: bool) -> None:
        found = "The key is unknown, revoked or expired." if is_given else "The request carries no key."
        super().__init__(f"{found} Send one as 'x-pointsman-key: psm_...'; 'pointsman keys create' makes it.")


class ForbiddenError(ServingError):
    """The key lacks the role."""

    def __init__(self, role: str) -> None:
        super().__init__(f"The key lacks the role {role!r}. Make one that has it with 'pointsman keys create'.")


class ForeignPageError(ServingError):
    """A page of another site asks, where no key is asked for."""

    def __init__(self) -> None:
        super().__init__(
            "The request comes from a page of another site, or calls this machine by a name that may be anyone's. "
            "Call it localhost or 127.0.0.1, or set POINTSMAN_KEYS=on and send a key."
        )


class FormTokenError(ServingError):
    """A form of the console without the token of its page."""

    def __init__(self) -> None:
        super().__init__("The form does not come from a page that this browser opened. Reload the page and try again.")


class RateLimitedError(ServingError):
    """More requests than the key may send."""

    def __init__(self, rate: str, retry_after_s: int) -> None:
        super().__init__(f"More than {rate} came with this key or address. Try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class BodyTimeoutError(ServingError):
    """The body did not arrive in time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"The body was not complete after {timeout_s:g} s, the limit of this service.")


class KeyNotFoundError(ServingError):
    """No key, or several, are called so."""

    def __init__(self, name: str, found: Sequence[str]) -> None:
        several = f"{len(found)} active keys are called {name!r}: {', '.join(found)}. Name one by its id."
        none = f"no active key is called {name!r}. 'pointsman keys list' shows them all."
        super().__init__(several if found else none)


class PayloadTooLargeError(ServingError):
    """The body is over the limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes, the limit of this service.")


class OverloadedError(ServingError):
    """Too many batches in wait."""

    def __init__(self, n_waiting: int) -> None:
        super().__init__(f"{n_waiting} batches are in wait, as many as this service holds. Try again in a moment.")


class NotReadyError(ServingError):
    """No warm model yet."""


class DecisionNotFoundError(ServingError):
    """No such decision."""

    def __init__(self) -> None:
        super().__init__("No decision has this id. Ids come back from /v1/decide as decision_id.")


class SessionNotFoundError(ServingError):
    """Nothing was decided for this session."""

    def __init__(self) -> None:
        super().__init__("No decision of this session is recorded. Its id is what the client sends with its requests.")


class FeedbackConflictError(ServingError):
    """The feedback id is taken by other feedback."""

    def __init__(self) -> None:
        super().__init__("This feedback id was used for other feedback. Send a new Idempotency-Key or feedback_id.")


class StoreUnavailableError(ServingError):
    """The record store cannot be reached, read or written."""


class RecordRejectedError(ServingError):
    """The database will never take this record, however often it is tried."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"The record store cannot hold this record ({cause}).")


class StoreVersionError(StoreUnavailableError):
    """The database was migrated by a newer version of this code."""

    def __init__(self, found: str, known: str | None) -> None:
        super().__init__(
            f"the database is at revision {found}; this code knows up to {known}. Upgrade pointsman, or go back with "
            f"the newer one's 'pointsman downgrade {known}'."
        )


#: The one table. A subclass without a row of its own takes its parent's.
STATUSES: Final[Mapping[type[Exception], tuple[int, str]]] = {
    InputError: (422, "invalid_input"),
    BundleError: (503, "model_unavailable"),
    InferenceError: (500, "inference_failed"),
    ClassifierError: (500, "classifier_failed"),
    UnauthenticatedError: (401, "unauthenticated"),
    ForbiddenError: (403, "forbidden"),
    ForeignPageError: (403, "forbidden"),
    FormTokenError: (403, "forbidden"),
    RateLimitedError: (429, "rate_limited"),
    BodyTimeoutError: (408, "body_timeout"),
    PayloadTooLargeError: (413, "payload_too_large"),
    OverloadedError: (429, "overloaded"),
    NotReadyError: (503, "not_ready"),
    DecisionNotFoundError: (404, "decision_not_found"),
    SessionNotFoundError: (404, "session_not_found"),
    FeedbackConflictError: (409, "feedback_conflict"),
    RecordRejectedError: (422, "invalid_input"),
    StoreUnavailableError: (503, "store_unavailable"),
}
_RETRYABLE: Final = frozenset({429, 503})
_HTTP_CODES: Final = {404: "not_found", 405: "method_not_allowed"}


def error_answer(status: int, code: str, message: str) -> JSONResponse:
    """Return the one shape that every refusal has."""
    headers = {"retry-after": str(RETRY_AFTER_S)} if status in _RETRYABLE else None
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)


def install_errors(app: FastAPI) -> None:
    """Answer every exception of the table with its status and code."""
    for raised in STATUSES:
        app.add_exception_handler(raised, _answer_known)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(ClientDisconnect, _answer_gone)


def answer_to(exc: Exception) -> JSONResponse:
    """Return the answer to an exception of the table."""
    status, code = next(STATUSES[kind] for kind in type(exc).__mro__ if kind in STATUSES)
    answer = error_answer(status, code, str(exc))
    if isinstance(exc, RateLimitedError):
        answer.headers["retry-after"] = str(exc.retry_after_s)
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["www-authenticate"] = "Bearer"
    if status == HTTPStatus.REQUEST_TIMEOUT:
        # The rest of the body may still come; nobody reads it.
        answer.headers["connection"] = "close"
    return answer


async def _answer_known(_request: Request, exc: Exception) -> JSONResponse:
    return answer_to(exc)


async def _answer_http(_request: Request, exc: Exception) -> JSONResponse:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    return error_answer(status, _HTTP_CODES.get(status, "http_error"), HTTPStatus(status).phrase)


async def _answer_gone(_request: Request, _exc: Exception) -> JSONResponse:
    return gone_answer()


def gone_answer() -> JSONResponse:
    """Return the answer to a request whose connection closed: nobody reads it; the log would call it a fault."""
    return error_answer(400, "client_closed_request", "The connection closed before the body was complete.")

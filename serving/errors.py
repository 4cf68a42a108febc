"""What the service raises, and the one table from exception to HTTP status and machine code.

ServingError
├── SettingsError            a setting cannot be used; stops the start
├── PayloadTooLargeError     the body is over the limit
├── OverloadedError          too many batches in wait
├── NotReadyError            no warm model yet
├── DecisionNotFoundError    no such decision
├── FeedbackConflictError    the feedback id is taken by other feedback
├── RecordRejectedError      the database will never take this record
└── StoreUnavailableError    the record store cannot be reached, read or written
    └── StoreVersionError    a newer version of this code migrated it; stops the start

`POST /v1/decide` answers none of them but `PayloadTooLargeError`: a gateway in front would refuse its client.
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
        super().__init__(f"the database is at revision {found}; this code knows up to {known}. Upgrade pointsman.")


#: The one table. A subclass without a row of its own takes its parent's.
STATUSES: Final[Mapping[type[Exception], tuple[int, str]]] = {
    InputError: (422, "invalid_input"),
    BundleError: (503, "model_unavailable"),
    InferenceError: (500, "inference_failed"),
    ClassifierError: (500, "classifier_failed"),
    PayloadTooLargeError: (413, "payload_too_large"),
    OverloadedError: (429, "overloaded"),
    NotReadyError: (503, "not_ready"),
    DecisionNotFoundError: (404, "decision_not_found"),
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


async def _answer_known(_request: Request, exc: Exception) -> JSONResponse:
    status, code = next(STATUSES[kind] for kind in type(exc).__mro__ if kind in STATUSES)
    return error_answer(status, code, str(exc))


async def _answer_http(_request: Request, exc: Exception) -> JSONResponse:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    return error_answer(status, _HTTP_CODES.get(status, "http_error"), HTTPStatus(status).phrase)


async def _answer_gone(_request: Request, _exc: Exception) -> JSONResponse:
    # Nobody reads it; without it the log would call a closed connection a fault.
    return error_answer(400, "client_closed_request", "The connection closed before the body was complete.")

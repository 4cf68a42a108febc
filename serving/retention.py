"""Deletes what is older than the settings allow, at the start and every hour from then on."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.concurrency import run_in_threadpool

from .errors import ServingError
from .key_store import format_time
from .privacy import Deleted, delete_older
from .store import Store

logger = logging.getLogger(__name__)

_WAIT_S: Final = 3600.0
#: The audit log's name for the service itself.
ACTOR: Final = "service"


async def keep_retention(store: Store, days: float | None) -> None:
    """Delete until cancelled; at once when nothing is to be deleted ever."""
    while days is not None:
        try:
            deleted = await run_in_threadpool(delete_expired, store, days)
        except ServingError as exc:
            logger.warning("old records not deleted, the record store failed", extra={"error": type(exc).__name__})
        else:
            if deleted.n_decisions:
                counts = {"n_decisions": deleted.n_decisions, "n_feedback": deleted.n_feedback}
                logger.info("old records deleted", extra=counts)
        await asyncio.sleep(_WAIT_S)


def delete_expired(store: Store, days: float) -> Deleted:
    """Delete what is older than this many days."""
    return delete_older(store, format_time(datetime.now(UTC) - timedelta(days=days)), actor=ACTOR)

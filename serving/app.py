"""`create_app(settings)`: puts the parts together, starts them in order and stops them in reverse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from importlib.metadata import version

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.router import Router

from .access import Access
from .bundle_watch import BundleWatch
from .console.router import console_routers
from .deciding import Decider
from .edge import Edge
from .errors import install_errors
from .gate import Gate
from .live_model import LiveModel, open_router
from .logs import flush_logs
from .migrations import migrate
from .model_source import ModelSource
from .recorder import Recorder
from .retention import keep_retention
from .routes import classification, decisions, feedback, health, savings, sessions, weave
from .services import Services
from .settings import Settings
from .shortcut import Shortcut
from .spending import Spending
from .spool import open_spool
from .store import Store
from .stored_text import TextKeeper
from .telemetry import Telemetry
from .tracing import Traced, Tracing
from .upkeep import Upkeep


def create_app(settings: Settings, router: Router | None = None) -> FastAPI:
    """Return the service. Nothing is opened before the app starts; a start that fails says why."""
    telemetry = Telemetry()
    access = Access(settings, telemetry)
    tracing = None if settings.traces_url is None else Tracing(settings.traces_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened = router if router is not None else await run_in_threadpool(open_router, settings)
        services = await run_in_threadpool(_assemble, settings, opened, telemetry, access)
        app.state.services = services
        if tracing is not None:
            tracing.start()
        access.start()
        services.recorder.start()
        warming = services.model.start()
        keeping = asyncio.gather(
            services.upkeep.run(),
            services.watch.run(),
            keep_retention(services.store, settings.retention_days),
            return_exceptions=True,
        )
        try:
            yield
        finally:
            await access.stop()
            warming.cancel()
            keeping.cancel()
            # A look under way ends before the store closes under it.
            await asyncio.gather(keeping, return_exceptions=True)
            services.watch.stop()
            services.model.stop()
            await run_in_threadpool(services.recorder.stop, settings.flush_timeout_s)
            services.store.close()
            if tracing is not None:
                await run_in_threadpool(tracing.stop)
            # The signal that ends the process leaves no time for it later.
            await run_in_threadpool(flush_logs)

    app = FastAPI(
        title="Pointsman",
        version=version("pointsman"),
        description="Decides which model should take a coding agent's turn.",
        lifespan=lifespan,
        # Served by routes/health.py: nothing loaded from other hosts.
        docs_url=None,
        openapi_url=None,
        redoc_url=None,
    )
    install_errors(app)
    for resource in (decisions, classification, feedback, sessions, savings, health, weave):
        app.include_router(resource.router)
    for pages in console_routers():
        app.include_router(pages)
    app.add_middleware(Shortcut)
    app.add_middleware(Gate, access=access)
    app.add_middleware(Edge, telemetry=telemetry)
    if tracing is not None:
        telemetry.on_decision = tracing.note
        app.add_middleware(Traced, tracing=tracing)
    return app


def open_store(settings: Settings) -> Store:
    """Open the record store and bring it to this code's revision, or raise `StoreUnavailableError`."""
    # A migration of a filled database takes as long as it takes.
    with closing(Store(settings.database_url)) as unbounded:
        migrate(unbounded.engine)
    return Store(settings.database_url, timeout_s=settings.store_timeout_s)


def _assemble(settings: Settings, router: Router, telemetry: Telemetry, access: Access) -> Services:
    store = open_store(settings)
    access.load(store)
    model = LiveModel(router, telemetry)
    watch = BundleWatch(router, ModelSource.of(settings), telemetry, settings)
    spending = Spending(router)
    router.spent = spending.by_rule
    recorder = Recorder(
        store,
        telemetry,
        max_queued=settings.max_queued_records,
        spool=open_spool(settings),
        keeper=TextKeeper() if settings.store_text else None,
    )
    return Services(
        settings=settings,
        model=model,
        decider=Decider(model, recorder, telemetry, settings, spending, watch),
        store=store,
        recorder=recorder,
        telemetry=telemetry,
        upkeep=Upkeep(router, store, spending, telemetry, settings),
        access=access,
        watch=watch,
    )

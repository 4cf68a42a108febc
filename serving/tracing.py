"""Traces for an OpenTelemetry collector, where one is named (POINTSMAN_TRACES_URL): one span for each request.

A span says route, status and what was decided, and goes on with the trace of whoever asked (`traceparent`). It holds
nothing that a client wrote: no path, no query, no header, no text, no `tracestate`.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pointsman.classifier.assessment import Decision

from .errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.context import Context

#: Asked every few seconds by orchestrators and scrapers.
_UNTRACED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})


class Tracing:
    """Makes spans and sends them, in a thread of its own; what a collector does not take is dropped."""

    def __init__(self, url: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
        except ModuleNotFoundError as exc:
            problem = (
                f"POINTSMAN_TRACES_URL needs {exc.name}, which is not installed; run: pip install 'pointsman[tracing]'"
            )
            raise SettingsError([problem]) from exc
        resource = Resource.create({"service.name": "pointsman", "service.version": version("pointsman")})
        self.provider: TracerProvider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter(endpoint=url)

    def start(self) -> None:
        """Begin to send."""
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self.provider.add_span_processor(BatchSpanProcessor(self._exporter))

    def stop(self) -> None:
        """Send what waits, for a few seconds at most."""
        self.provider.shutdown()

    @staticmethod
    def note(decision: Decision, source: str) -> None:
        """Put a decision on the span of the request that asked for it."""
        from opentelemetry import trace

        span, assessment = trace.get_current_span(), decision.assessment
        span.set_attributes({"pointsman.model": decision.model, "pointsman.source": source})
        span.set_attributes({"pointsman.kind": decision.kind.value, "pointsman.decision_id": decision.decision_id})
        span.set_attributes({f"pointsman.{part}_ms": ms for part, ms in decision.latency_ms.items()})
        if assessment is not None:
            span.set_attribute("pointsman.category", assessment.category.label)
            span.set_attribute("pointsman.risk", assessment.risk.label)


class Traced:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracer = tracing.provider.get_tracer("pointsman.serving")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind

        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else "other"
        # An exception's message may quote what it choked on.
        with self._tracer.start_as_current_span(
            method,
            context=_asked_within(scope),
            kind=SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await self._app(scope, receive, watch)
            finally:
                route = str(getattr(scope.get("route"), "path", "unknown"))
                span.update_name(f"{method} {route}")
                span.set_attributes({"http.request.method": method, "http.route": route})
                span.set_attribute("http.response.status_code", status)


def _asked_within(scope: Scope) -> "Context":
    """Return the context that the caller's trace gives."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    found = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    return TraceContextTextMapPropagator().extract({"traceparent": found.decode("latin-1")})

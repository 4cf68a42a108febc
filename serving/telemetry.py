"""Prometheus metrics: the names as constants, one registry per app, one `observe()`."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pointsman.classifier.assessment import Decision

DECISIONS: Final = "pointsman_decisions_total"
SAFE_DEFAULTS: Final = "pointsman_safe_defaults_total"
DECIDE_SECONDS: Final = "pointsman_decide_seconds"
INFERENCES_WAITING: Final = "pointsman_inferences_waiting"
REQUESTS: Final = "pointsman_http_requests_total"
REQUEST_SECONDS: Final = "pointsman_http_request_seconds"
REFUSED: Final = "pointsman_refused_requests_total"
FEEDBACK: Final = "pointsman_feedback_total"
RECORDS_WRITTEN: Final = "pointsman_records_written_total"
RECORDS_LOST: Final = "pointsman_records_lost_total"
RECORDS_WAITING: Final = "pointsman_records_waiting"
RECORDS_SPOOLED: Final = "pointsman_records_spooled_total"
SPOOL_RECORDS: Final = "pointsman_spool_records"
SPOOL_FAILED: Final = "pointsman_spool_failures_total"
STORE_FAILURES: Final = "pointsman_store_failures_total"
STORE_UP: Final = "pointsman_store_up"
SESSION_STORE_FAILURES: Final = "pointsman_session_store_failures_total"
RELOADS: Final = "pointsman_reloads_total"
BUNDLE_INTACT: Final = "pointsman_bundle_intact"
BODY_BYTES: Final = "pointsman_body_bytes"
READY: Final = "pointsman_ready"

NAMES: Final = (
    DECISIONS,
    SAFE_DEFAULTS,
    DECIDE_SECONDS,
    INFERENCES_WAITING,
    REQUESTS,
    REQUEST_SECONDS,
    REFUSED,
    FEEDBACK,
    RECORDS_WRITTEN,
    RECORDS_LOST,
    RECORDS_WAITING,
    RECORDS_SPOOLED,
    SPOOL_RECORDS,
    SPOOL_FAILED,
    STORE_FAILURES,
    STORE_UP,
    SESSION_STORE_FAILURES,
    RELOADS,
    BUNDLE_INTACT,
    BODY_BYTES,
    READY,
)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# From a recalled answer (well under a millisecond) to the longest deadline anyone sets.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)


class Telemetry:
    """The service's metrics. Label values are labels, model names and causes, never anything a client wrote."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._counters = {
            DECISIONS: self._counter(DECISIONS, "Decisions answered.", "kind", "category", "risk", "model", "source"),
            SAFE_DEFAULTS: self._counter(SAFE_DEFAULTS, "Answers without a decision, by cause.", "cause"),
            REQUESTS: self._counter(REQUESTS, "HTTP requests.", "route", "method", "status"),
            REFUSED: self._counter(REFUSED, "Requests that were not let in, by cause.", "cause"),
            FEEDBACK: self._counter(FEEDBACK, "Feedback committed.", "outcome"),
            RECORDS_WRITTEN: self._counter(RECORDS_WRITTEN, "Records committed.", "table"),
            RECORDS_LOST: self._counter(RECORDS_LOST, "Decision records never written, by cause.", "cause"),
            RECORDS_SPOOLED: self._counter(RECORDS_SPOOLED, "Decision records put on this machine's disk."),
            SPOOL_FAILED: self._counter(SPOOL_FAILED, "Failures of the spool's file."),
            STORE_FAILURES: self._counter(STORE_FAILURES, "Transactions that failed."),
            SESSION_STORE_FAILURES: self._counter(SESSION_STORE_FAILURES, "Failures of the shared session store."),
            RELOADS: self._counter(RELOADS, "Changes of catalogue or policy files seen, by outcome.", "outcome"),
        }
        self._histograms = {
            DECIDE_SECONDS: self._histogram(DECIDE_SECONDS, "Time of a decision, by part.", "part"),
            REQUEST_SECONDS: self._histogram(REQUEST_SECONDS, "Time of an HTTP request.", "route"),
        }
        self._gauges = {
            INFERENCES_WAITING: self._gauge(INFERENCES_WAITING, "Inferences in wait or running."),
            RECORDS_WAITING: self._gauge(RECORDS_WAITING, "Records in wait for the store."),
            SPOOL_RECORDS: self._gauge(
                SPOOL_RECORDS, "Decision records on this machine's disk, in wait for the store."
            ),
            STORE_UP: self._gauge(STORE_UP, "1 when the last transaction went well, 0 when it failed."),
            BUNDLE_INTACT: self._gauge(BUNDLE_INTACT, "1 while the bundle's files are what is served."),
            BODY_BYTES: self._gauge(BODY_BYTES, "Bytes of bodies held for /v1/decide."),
            READY: self._gauge(READY, "1 when the model is warm and the store can be reached."),
        }

    def observe(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Add to a counter, set a gauge, or put a value into a histogram: whatever `name` is."""
        if name in self._counters:
            counter = self._counters[name]
            (counter.labels(**labels) if labels else counter).inc(value)
        elif name in self._histograms:
            self._histograms[name].labels(**labels).observe(value)
        else:
            self._gauges[name].set(value)

    def observe_decision(self, decision: Decision, source: str) -> None:
        """Count one answer and the parts of its time."""
        assessment = decision.assessment
        self.observe(
            DECISIONS,
            kind=decision.kind.value,
            category=assessment.category.label if assessment else "none",
            risk=assessment.risk.label if assessment else "none",
            model=decision.model,
            source=source,
        )
        for part, milliseconds in decision.latency_ms.items():
            self.observe(DECIDE_SECONDS, milliseconds / 1000, part=part)

    def exposition(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        return Histogram(name, help_text, labels, buckets=_BUCKETS, registry=self.registry)

    def _gauge(self, name: str, help_text: str) -> Gauge:
        return Gauge(name, help_text, registry=self.registry)

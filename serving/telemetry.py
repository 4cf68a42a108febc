"""Prometheus metrics: the names as constants, one registry per app, one `observe()`."""

from collections.abc import Callable
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
BUNDLE_SWAPS: Final = "pointsman_bundle_swaps_total"
BUNDLE_REFUSED: Final = "pointsman_bundle_refused"
SHADOW_ASSESSED: Final = "pointsman_shadow_assessed_total"
SHADOW_AGREEMENTS: Final = "pointsman_shadow_agreements_total"
SHADOW_CARE_DISAGREEMENTS: Final = "pointsman_shadow_care_disagreements_total"
SHADOW_DROPPED: Final = "pointsman_shadow_dropped_total"
SHADOW_FAILURES: Final = "pointsman_shadow_failures_total"
SHADOW_SECONDS: Final = "pointsman_shadow_seconds"
CANARY_FAILURES: Final = "pointsman_canary_failures_total"
DRIFT_SCORE: Final = "pointsman_drift_score"
DRIFT_ALERT: Final = "pointsman_drift_alert"
DRIFT_TURNS: Final = "pointsman_drift_turns"

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
    BUNDLE_SWAPS,
    BUNDLE_REFUSED,
    SHADOW_ASSESSED,
    SHADOW_AGREEMENTS,
    SHADOW_CARE_DISAGREEMENTS,
    SHADOW_DROPPED,
    SHADOW_FAILURES,
    SHADOW_SECONDS,
    CANARY_FAILURES,
    DRIFT_SCORE,
    DRIFT_ALERT,
    DRIFT_TURNS,
)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# From a recalled answer (well under a millisecond) to the longest deadline anyone sets.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)


class Telemetry:
    """The service's metrics. Label values are labels, model names and causes, never anything a client wrote."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        #: Told of every decision and its source, beside the counters.
        self.on_decision: Callable[[Decision, str], None] | None = None
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
            BUNDLE_SWAPS: self._counter(BUNDLE_SWAPS, "Bundles that were named to serve or be tried.", "outcome"),
            SHADOW_ASSESSED: self._counter(SHADOW_ASSESSED, "Turns that the challenger assessed in the shadow."),
            SHADOW_AGREEMENTS: self._counter(SHADOW_AGREEMENTS, "Of those, the ones with the same label.", "head"),
            SHADOW_CARE_DISAGREEMENTS: self._counter(
                SHADOW_CARE_DISAGREEMENTS, "Of those, the ones it holds for needing care, or not, alone.", "direction"
            ),
            SHADOW_DROPPED: self._counter(SHADOW_DROPPED, "Turns that the challenger was too slow for."),
            SHADOW_FAILURES: self._counter(SHADOW_FAILURES, "Turns that the challenger failed on in the shadow."),
            CANARY_FAILURES: self._counter(CANARY_FAILURES, "Turns that the champion assessed after all."),
        }
        self._histograms = {
            DECIDE_SECONDS: self._histogram(DECIDE_SECONDS, "Time of a decision, by part.", "part"),
            REQUEST_SECONDS: self._histogram(REQUEST_SECONDS, "Time of an HTTP request.", "route"),
            SHADOW_SECONDS: self._histogram(SHADOW_SECONDS, "Time of an assessment in the shadow."),
        }
        self._gauges = {
            INFERENCES_WAITING: self._gauge(INFERENCES_WAITING, "Inferences in wait or running."),
            RECORDS_WAITING: self._gauge(RECORDS_WAITING, "Records in wait for the store."),
            BUNDLE_REFUSED: self._gauge(BUNDLE_REFUSED, "1 while the bundle that is named does not serve."),
            SPOOL_RECORDS: self._gauge(
                SPOOL_RECORDS, "Decision records on this machine's disk, in wait for the store."
            ),
            STORE_UP: self._gauge(STORE_UP, "1 when the last transaction went well, 0 when it failed."),
            BUNDLE_INTACT: self._gauge(BUNDLE_INTACT, "1 while the bundle's files are what is served."),
            BODY_BYTES: self._gauge(BODY_BYTES, "Bytes of bodies held for /v1/decide."),
            READY: self._gauge(READY, "1 when the model is warm and the store can be reached."),
            DRIFT_SCORE: self._gauge(
                DRIFT_SCORE, "How far recent turns differ from those before, by signal.", "signal"
            ),
            DRIFT_ALERT: self._gauge(DRIFT_ALERT, "2 for an alert, 1 for worth a look, else 0.", "signal"),
            DRIFT_TURNS: self._gauge(DRIFT_TURNS, "Turns behind the drift scores, by span of time.", "span"),
        }

        # The library finds a child by its labels under a lock, at several times the cost of adding to it.
        self._adders: dict[tuple[object, ...], Callable[[float], None]] = {}

    def observe(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Add to a counter, set a gauge, or put a value into a histogram: whatever `name` is."""
        key = (name, *labels.items())
        add = self._adders.get(key)
        if add is None:
            add = self._adders[key] = self._adder(name, labels)
        add(value)

    def _adder(self, name: str, labels: dict[str, str]) -> Callable[[float], None]:
        if name in self._counters:
            counter = self._counters[name]
            return (counter.labels(**labels) if labels else counter).inc
        if name in self._histograms:
            histogram = self._histograms[name]
            return (histogram.labels(**labels) if labels else histogram).observe
        gauge = self._gauges[name]
        return (gauge.labels(**labels) if labels else gauge).set

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
        if self.on_decision is not None:
            self.on_decision(decision, source)

    def exposition(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        return Histogram(name, help_text, labels, buckets=_BUCKETS, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels, registry=self.registry)

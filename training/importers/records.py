"""Pointsman's own records: the store of the service by its URL, or JSON lines of decision and feedback rows.

Requests of one turn become one turn, with the feedback on any of them; a corrected label is a label. Only a service
that stores text gives rows to train on; without, features and outcomes remain.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from pointsman.classifier.assessment import Kind, Message
from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.records import DecisionRecord, FeedbackRecord

from .databases import SQLITE_HEAD, is_sqlite, tables_of
from .lines import as_object, read_rows
from .open_turns import OpenTurns
from .protocol import Cleaner, ImportedTurn, Location, Problems, Usage

_BATCH_ROWS: Final = 500
# Also the shape of the tables that `pointsman.serving` migrates: `record` is the row, the rest is for queries.
_JOINED: Final = """
SELECT decisions.record AS decision, feedback.record AS feedback
FROM decisions LEFT JOIN feedback ON feedback.decision_id = decisions.decision_id
ORDER BY decisions.created_at, decisions.decision_id, feedback.created_at, feedback.feedback_id
"""
_COUNTED: Final = """
SELECT (SELECT COUNT(*) FROM decisions), (SELECT COUNT(*) FROM feedback),
       (SELECT MAX(created_at) FROM decisions), (SELECT MAX(created_at) FROM feedback)
"""
_Judged = tuple[DecisionRecord, FeedbackRecord | None]


class RecordsImporter:
    """Reads one store, or one file of records."""

    kind = "records"

    def recognises(self, location: Location, head: str) -> bool:
        if location.is_url or (head.startswith(SQLITE_HEAD) and {"decisions", "feedback"} <= tables_of(location)):
            return True
        return (as_object(head.partition("\n")[0]) or {}).get("record") in ("decision", "feedback")

    def turns(self, location: Location, cleaner: Cleaner, problems: Problems) -> Iterator[ImportedTurn]:
        if not location.is_url and is_sqlite(location):
            location = Location(f"sqlite:///{location.address}")
        rows = _stored(location, problems) if location.is_url else _written(location, problems)
        yield from _turns(rows, cleaner)


def fingerprint_of(url: str) -> str:
    """Return what changes when a store gets new rows."""
    with _reading(url) as connection:
        return repr(tuple(connection.exec_driver_sql(_COUNTED).one()))


@contextmanager
def _reading(url: str) -> Iterator[Any]:
    engine = _engine(url)
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with engine.connect() as connection:
            yield connection.execution_options(yield_per=_BATCH_ROWS)
    except SQLAlchemyError as error:
        name = type(getattr(error, "orig", None) or error).__name__
        msg = f"the store cannot be read ({name}); expected the tables of pointsman serve. Check the URL."
        raise InputError(msg) from error
    finally:
        engine.dispose()


def _engine(url: str) -> Any:
    try:
        import sqlalchemy as sa
    except ModuleNotFoundError as error:
        msg = "importing from a store needs sqlalchemy, which is not installed. Run: pip install 'pointsman[training]'."
        raise InputError(msg) from error
    backend, separator, rest = url.partition("://")
    if backend in ("postgres", "postgresql"):
        url = f"postgresql+psycopg{separator}{rest}"
    try:
        return sa.create_engine(url)
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        msg = f"found a database URL of {backend!r}; expected sqlite:///FILE or postgresql://... Check the URL."
        raise InputError(msg) from error


def _stored(location: Location, problems: Problems) -> Iterator[_Judged]:
    with _reading(location.address) as connection:
        for number, (decision, feedback) in enumerate(connection.exec_driver_sql(_JOINED), 1):
            judged = _read(f"row {number} of the store", decision, feedback, problems)
            if judged is not None:
                yield judged


def _written(location: Location, problems: Problems) -> Iterator[_Judged]:
    """Read a file twice: feedback, which is little, and then the decisions in their order."""
    given: dict[str, list[Mapping[str, Any]]] = {}
    for _, row in read_rows(location, Problems()):
        if row.get("record") == "feedback":
            given.setdefault(str(row.get("decision_id")), []).append(row)
    for number, row in read_rows(location, problems):
        if row.get("record") == "feedback":
            continue
        for feedback in given.get(str(row.get("decision_id")), [None]):
            judged = _read(f"{location.address}:{number}", row, feedback, problems)
            if judged is not None:
                yield judged


def _read(place: str, decision: Any, feedback: Any, problems: Problems) -> _Judged | None:
    try:
        # Text in SQLite, JSON in PostgreSQL.
        decision, feedback = (as_object(row) if isinstance(row, str) else row for row in (decision, feedback))
        judged = None if feedback is None else FeedbackRecord.from_json(feedback)
        return DecisionRecord.from_json(decision), judged
    except (InputError, AttributeError):
        problems.add(place, "no record that this version reads")
        return None


def _turns(rows: Iterable[_Judged], cleaner: Cleaner) -> Iterator[ImportedTurn]:
    opened = OpenTurns()
    last_decision = ""
    for decision, feedback in rows:
        if decision.kind is Kind.BACKGROUND or not decision.turn_key:
            continue
        session = opened.session_of(decision.session_id, decision.state_key, decision.next_state_key, named=None)
        current = opened.current(session, decision.turn_key)
        if current is None:
            current = _begin(decision, session, cleaner)
            yield from opened.begin(current, decision.turn_key)
        if decision.decision_id != last_decision:
            _decided(current, decision)
            last_decision = decision.decision_id
        if feedback is not None:
            _judge(current, feedback)
    yield from opened.finish()


def _begin(decision: DecisionRecord, session: str, cleaner: Cleaner) -> ImportedTurn:
    context = decision.context or ()
    return ImportedTurn(
        session=session,
        project=decision.project or decision.team or session,
        uid=decision.turn_key,
        prompt=None if decision.prompt is None else cleaner.clean(decision.prompt),
        context=tuple(Message(message.role, cleaner.clean(message.text)) for message in context),
        kind=Kind.SUBAGENT if decision.agent_id is not None else Kind.TASK,
        at=decision.created_at,
        n_media=decision.n_images + decision.n_documents,
        extra=_assessed(decision) | _form(decision),
    )


def _assessed(decision: DecisionRecord) -> dict[str, object]:
    if decision.assessment is None:
        return {}
    labels = {head: getattr(decision.assessment, head).label for head in HEADS}
    return {"assessed": labels | {"model_version": decision.model_version}, "novelty": decision.assessment.novelty}


def _form(decision: DecisionRecord) -> dict[str, object]:
    """Return what is known of a prompt whose text was not stored."""
    if decision.prompt is not None or not decision.n_chars:
        return {}
    return {"features": {"n_chars": decision.n_chars, "script": decision.script}}


def _decided(turn: ImportedTurn, decision: DecisionRecord) -> None:
    turn.add_model(decision.model)
    turn.last_at = decision.created_at
    turn.usage.n_messages += 1


def _judge(turn: ImportedTurn, feedback: FeedbackRecord) -> None:
    turn.outcome = feedback.outcome
    labels = {str(head): label for head, label in feedback.labels.items()}
    turn.labels.update(labels)
    if labels:
        by = "feedback" if feedback.source is None else f"person:{feedback.source}"
        turn.votes.append({"source": by, **labels})
    if feedback.cost_usd is not None:
        turn.usage.add(Usage(cost_usd=feedback.cost_usd))

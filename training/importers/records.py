"""Pointsman's own records: the store of the service by its URL, or JSON lines of decision, feedback and review rows.

Requests of one turn become one turn, with the feedback on any of them and what reviewers said of it; a corrected label
is a label, and so is a reviewer's. Only a service that stores text gives rows to train on; without, features and
outcomes remain.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
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
_REVIEWED: Final = """
SELECT decision_id, reviewer, category, risk, scope, turn FROM reviews
WHERE category IS NOT NULL ORDER BY created_at, reviewer
"""
_COUNTED_REVIEWS: Final = "SELECT COUNT(*), MAX(created_at) FROM reviews"
_RECORDS: Final = ("decision", "feedback", "review")
_Judged = tuple[DecisionRecord, FeedbackRecord | None]
_Vote = dict[str, str]
#: What reviewers said of a decision, oldest first.
_Reviews = Mapping[str, Sequence[_Vote]]


class RecordsImporter:
    """Reads one store, or one file of records."""

    kind = "records"

    def recognises(self, location: Location, head: str) -> bool:
        if location.is_url or (head.startswith(SQLITE_HEAD) and {"decisions", "feedback"} <= tables_of(location)):
            return True
        return (as_object(head.partition("\n")[0]) or {}).get("record") in _RECORDS

    def turns(self, location: Location, cleaner: Cleaner, problems: Problems) -> Iterator[ImportedTurn]:
        if not location.is_url and is_sqlite(location):
            location = Location(f"sqlite:///{location.address}")
        if location.is_url:
            yield from _turns(_stored(location, problems), _stored_reviews(location), cleaner)
        else:
            feedback, reviews = _written_judgements(location)
            yield from _turns(_written(location, feedback, problems), reviews, cleaner)


def fingerprint_of(url: str) -> str:
    """Return what changes when a store gets new rows."""
    with _reading(url) as connection:
        counted = tuple(connection.exec_driver_sql(_COUNTED).one())
        if _holds_reviews(connection):
            counted += tuple(connection.exec_driver_sql(_COUNTED_REVIEWS).one())
        return repr(counted)


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
        parsed = sa.make_url(url)
        # SQLite would make an empty database of a name that is misspelt.
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
            msg = f"{parsed.database}: no such file; expected the SQLite store of pointsman serve. Check the URL."
            raise InputError(msg)
        return sa.create_engine(parsed)
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        msg = f"found a database URL of {backend!r}; expected sqlite:///FILE or postgresql://... Check the URL."
        raise InputError(msg) from error


def _stored(location: Location, problems: Problems) -> Iterator[_Judged]:
    with _reading(location.address) as connection:
        for number, (decision, feedback) in enumerate(connection.exec_driver_sql(_JOINED), 1):
            judged = _read(f"row {number} of the store", decision, feedback, problems)
            if judged is not None:
                yield judged


def _stored_reviews(location: Location) -> _Reviews:
    with _reading(location.address) as connection:
        # A store that no newer version of the service has opened yet has no such table.
        found = connection.exec_driver_sql(_REVIEWED) if _holds_reviews(connection) else ()
        return _by_decision((decision, reviewer, labels) for decision, reviewer, *labels in found)


def _holds_reviews(connection: Any) -> bool:
    import sqlalchemy as sa

    return bool(sa.inspect(connection).has_table("reviews"))


def _written_judgements(location: Location) -> tuple[Mapping[str, Sequence[Mapping[str, Any]]], _Reviews]:
    """Read feedback and reviews, which are little, before the decisions are read in their order."""
    feedback: dict[str, list[Mapping[str, Any]]] = {}
    reviewed: list[Mapping[str, Any]] = []
    for _, row in read_rows(location, Problems()):
        if row.get("record") == "feedback":
            feedback.setdefault(str(row.get("decision_id")), []).append(row)
        elif row.get("record") == "review":
            reviewed.append(row)
    reviewed.sort(key=lambda row: str(row.get("created_at")))
    said = ((row.get("decision_id"), row.get("reviewer"), [row.get(head) for head in HEADS]) for row in reviewed)
    return feedback, _by_decision(said)


def _by_decision(rows: Iterable[tuple[Any, Any, Sequence[Any]]]) -> _Reviews:
    found: dict[str, list[_Vote]] = {}
    for decision_id, reviewer, labels in rows:
        given = {str(head): str(label) for head, label in zip(HEADS, labels, strict=True) if label in HEADS[head]}
        if given:
            found.setdefault(str(decision_id), []).append({"source": f"person:{reviewer}", **given})
    return found


def _written(
    location: Location, given: Mapping[str, Sequence[Mapping[str, Any]]], problems: Problems
) -> Iterator[_Judged]:
    for number, row in read_rows(location, problems):
        if row.get("record") in ("feedback", "review"):
            continue
        for feedback in given.get(str(row.get("decision_id")), (None,)):
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


def _turns(rows: Iterable[_Judged], reviews: _Reviews, cleaner: Cleaner) -> Iterator[ImportedTurn]:
    for turn in _judged_turns(rows, reviews, cleaner):
        turn.labels.update(settled(turn.votes))
        yield turn


def settled(votes: Sequence[_Vote]) -> dict[str, str]:
    """Return the label of each head that most people chose; of as many for two labels, the newest.

    What somebody said again takes the place of what the same person said before.
    """
    newest: dict[tuple[str, str], str] = {}
    for vote in votes:
        for head in HEADS:
            if head in vote:
                newest.pop((vote["source"], head), None)
                newest[vote["source"], head] = vote[head]
    found: dict[str, str] = {}
    for head in HEADS:
        said = [label for (_, about), label in newest.items() if about == head]
        if said:
            # The first of equals is taken: the newest comes first.
            found[str(head)] = Counter(reversed(said)).most_common(1)[0][0]
    return found


def _judged_turns(rows: Iterable[_Judged], reviews: _Reviews, cleaner: Cleaner) -> Iterator[ImportedTurn]:
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
            current.votes += reviews.get(decision.decision_id, ())
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
    if labels:
        by = "feedback" if feedback.source is None else f"person:{feedback.source}"
        turn.votes.append({"source": by, **labels})
    if feedback.cost_usd is not None:
        turn.usage.add(Usage(cost_usd=feedback.cost_usd))

"""Keys are kept as digests, found by id, ended on time; every change is in the audit log."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pointsman.classifier.records import utc_now
from pointsman.serving.audit import AUDIT, Act, read_acts
from pointsman.serving.errors import KeyNotFoundError
from pointsman.serving.key_store import API_KEYS, create_key, format_time, read_keys, revoke_key, rotate_key
from pointsman.serving.keys import digest_of, id_of, make_key, presented_key


def in_hours(hours):
    return format_time(datetime.now(UTC) + timedelta(hours=hours))


def active(store):
    return {key.key_id for key in read_keys(store) if key.is_active(utc_now())}


def acts_on(store, *subjects):
    return [act.action for act in read_acts(store) if act.subject in subjects]


def test_two_keys_share_nothing_but_their_mark():
    (one, kept), (other, _) = (make_key("a", ["decide"], created_by="me") for _ in range(2))
    assert one.split("_")[0] == other.split("_")[0] == "psm"
    assert one.split("_")[1:] != other.split("_")[1:]
    assert id_of(one) == kept.key_id
    assert len(one.split("_")[2]) == 64


def test_key_matches_itself_alone():
    text, kept = make_key("a", ["decide"], created_by="me")
    assert kept.matches(text)
    for wrong in (text[:-1], text + "0", text.upper(), "", kept.digest, f"psm_{kept.key_id}_{kept.digest}", "\udcff"):
        assert not kept.matches(wrong)


def test_text_of_another_form_has_no_id():
    text, kept = make_key("a", ["decide"], created_by="me")
    assert id_of(text) == kept.key_id
    assert [id_of(wrong) for wrong in ("", "psm", "psm_", "psm_abc_def", "sk-ant-1", f"psm_{kept.key_id}_")] == [
        None
    ] * 6


def test_key_ends_when_it_expires_or_is_revoked():
    _, kept = make_key("a", ["decide"], created_by="me")
    now, past, future = utc_now(), in_hours(-1), in_hours(1)
    assert kept.is_active(now)
    assert replace(kept, expires_at=future).is_active(now)
    assert not replace(kept, expires_at=past).is_active(now)
    assert not replace(kept, revoked_at=past, expires_at=future).is_active(now)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([(b"x-pointsman-key", b" k1 ")], "k1"),
        ([(b"X_Pointsman_Key", b"k1")], "k1"),
        ([(b"authorization", b"Bearer psm_0123456789ab_cd")], "psm_0123456789ab_cd"),
        ([(b"authorization", b"bearer  psm_0123456789ab_cd")], "psm_0123456789ab_cd"),
        ([(b"authorization", b"Bearer sk-ant-provider")], None),
        ([(b"authorization", b"Basic psm_0123456789ab_cd")], None),
        ([(b"authorization", b"Bearer psm_0123456789ab_cd"), (b"x-pointsman-key", b"k1")], "k1"),
        ([(b"x-api-key", b"psm_0123456789ab_cd")], None),
        ([], None),
    ],
)
def test_key_is_read_from_its_header_or_a_bearer_token_of_its_form(headers, found):
    assert presented_key(headers) == found


def test_store_keeps_a_digest_and_never_the_key(store):
    text, key = create_key(store, "gateway", ["decide", "feedback"], actor="me", rate="5/minute")
    with store.engine.connect() as connection:
        rows = [str(tuple(row)) for table in (API_KEYS, AUDIT) for row in connection.execute(sa.select(table))]
    assert digest_of(text) in "".join(rows)
    assert text.split("_")[2] not in "".join(rows)
    assert read_keys(store) == [key]


def test_rotated_key_hands_on_what_it_may_and_ends_after_the_grace(store):
    _, old = create_key(store, "gateway", ["decide"], actor="me", rate="5/minute")
    _, new, _ = rotate_key(store, "gateway", actor="me", grace=timedelta(hours=1))
    assert (new.name, new.roles, new.rate, new.replaces) == (old.name, old.roles, old.rate, old.key_id)
    assert active(store) == {old.key_id, new.key_id}
    assert {key.key_id for key in read_keys(store) if key.is_active(in_hours(2))} == {new.key_id}


def test_rotating_does_not_put_off_an_end_that_was_set(store):
    ends = in_hours(1)
    _, old = create_key(store, "gateway", ["decide"], actor="me", expires_at=ends)
    _, new, _ = rotate_key(store, old.key_id, actor="me", grace=timedelta(hours=9))
    assert {key.expires_at for key in read_keys(store)} == {ends}
    assert new.expires_at == ends


def test_rotated_without_grace_ends_at_once(store):
    _, old = create_key(store, "gateway", ["decide"], actor="me")
    _, new, _ = rotate_key(store, old.key_id, actor="me", grace=timedelta(0))
    assert active(store) == {new.key_id}


def test_revoked_key_is_over_and_cannot_be_revoked_again(store):
    _, key = create_key(store, "gateway", ["decide"], actor="me")
    revoke_key(store, "gateway", actor="me")
    assert active(store) == set()
    with pytest.raises(KeyNotFoundError, match=r"no active key is called 'gateway'\. 'pointsman keys list'"):
        revoke_key(store, "gateway", actor="me")
    assert acts_on(store, key.key_id) == ["keys.create", "keys.revoke"]


def test_name_of_several_keys_must_be_told_apart(store):
    ids = [create_key(store, "gateway", ["decide"], actor="me")[1].key_id for _ in range(2)]
    with pytest.raises(KeyNotFoundError, match=r"2 active keys are called 'gateway': .*Name one by its id"):
        revoke_key(store, "gateway", actor="me")
    revoke_key(store, ids[0], actor="me")
    assert active(store) == {ids[1]}


@pytest.mark.parametrize("change", [sa.update(AUDIT).values(actor="x"), sa.delete(AUDIT)], ids=["update", "delete"])
def test_audit_log_takes_new_rows_only(store, change):
    _, key = create_key(store, "gateway", ["decide"], actor="me")
    with pytest.raises(SQLAlchemyError, match="audit takes new rows only"), store.engine.begin() as connection:
        connection.execute(change)
    assert acts_on(store, key.key_id) == ["keys.create"]


def test_newest_acts_are_read_oldest_first(store):
    ids = [create_key(store, f"k{number}", ["decide"], actor="me")[1].key_id for number in range(3)]
    assert [act.subject for act in read_acts(store, most=2)] == ids[1:]
    assert isinstance(read_acts(store)[0], Act)

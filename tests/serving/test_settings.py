"""Settings come from the environment, are checked at once, and keep their secrets."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pointsman.serving.errors import SettingsError
from pointsman.serving.settings import Settings, default_database_url, load_settings


def test_defaults_listen_on_this_machine_only_and_store_no_text():
    settings = load_settings()
    assert (settings.host, settings.port, settings.store_text) == ("127.0.0.1", 8095, False)
    assert settings.max_body_bytes == 32 * 1024 * 1024


def test_environment_sets_and_options_win(monkeypatch):
    monkeypatch.setenv("POINTSMAN_PORT", "9000")
    monkeypatch.setenv("POINTSMAN_STORE_TEXT", "true")
    assert load_settings().port == 9000
    assert load_settings().store_text is True
    assert load_settings(port="9001", host=None).port == 9001


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "eighty", r"POINTSMAN_PORT: .*valid integer.*\(found 'eighty'\)"),
        ("PORT", "70000", r"POINTSMAN_PORT: .*less than or equal to 65535"),
        ("MAX_BODY_BYTES", "0", r"POINTSMAN_MAX_BODY_BYTES: .*greater than or equal to 1024"),
        ("DECIDE_TIMEOUT_S", "0", r"POINTSMAN_DECIDE_TIMEOUT_S: .*greater than 0"),
        ("LOG_LEVEL", "loud", r"POINTSMAN_LOG_LEVEL: .*\(found 'loud'\)"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d", r"names the database 'mysql'; expected sqlite or postgresql$"),
        ("DATABASE_URL", "not a url with hunter2", r"is not a database URL; expected sqlite:///PATH"),
        (
            "SESSIONS_URL",
            "http://u:hunter2@h",
            r"is not a Redis URL; expected redis://HOST, rediss://HOST or unix://PATH$",
        ),
        ("DATABASE_URL", "sqlite://", r"names no file, and records in memory are lost"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else value,
)
def test_bad_value_is_refused_with_what_was_expected(monkeypatch, name, value, message):
    monkeypatch.setenv(f"POINTSMAN_{name}", value)
    with pytest.raises(SettingsError, match=message) as raised:
        load_settings()
    assert "hunter2" not in str(raised.value)


def test_all_bad_values_are_told_at_once(monkeypatch):
    monkeypatch.setenv("POINTSMAN_PORT", "x")
    monkeypatch.setenv("POINTSMAN_N_THREADS", "0")
    with pytest.raises(SettingsError, match=r"POINTSMAN_PORT.*; POINTSMAN_N_THREADS"):
        load_settings()


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().port = 1


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_url_gets_the_driver_that_ships(scheme):
    url = load_settings(database_url=f"{scheme}://me:pw@host/db").database_url
    assert url == "postgresql+psycopg://me:pw@host/db"


def test_password_is_never_shown():
    settings = load_settings(database_url="postgresql://me:hunter2@host/db?sslpassword=hunter2")
    assert "hunter2" not in repr(settings)
    assert settings.shown_database() == "postgresql+psycopg://me:***@host/db"


def test_database_stands_in_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_database_url() == f"sqlite:///{tmp_path}/pointsman/pointsman.sqlite"


def test_database_stands_beside_the_process_without_a_home(monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError))
    assert default_database_url() == f"sqlite:///{Path.cwd()}/.pointsman/pointsman/pointsman.sqlite"


def test_every_setting_says_what_it_does():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []

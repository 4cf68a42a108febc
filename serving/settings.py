"""The service's settings: read once from `POINTSMAN_*`, checked, then immutable."""

import os
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from .errors import SettingsError

ENV_PREFIX: Final = "POINTSMAN_"


def data_folder() -> Path:
    """Return the service's folder in the user's data folder; beside the process where there is no home."""
    try:
        home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    except RuntimeError:
        home = str(Path.cwd() / ".pointsman")
    return Path(home) / "pointsman"


def default_database_url() -> str:
    """Return an SQLite file in the data folder."""
    return f"sqlite:///{data_folder() / 'pointsman.sqlite'}"


class Settings(BaseSettings):
    """Every knob of the service; each is `POINTSMAN_<NAME>` in the environment."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8095, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    bundle: Path | None = Field(
        None,
        description="Bundle folder, alias folder whose champion serves, or models:/NAME@ALIAS of the registry; "
        "the bundle in the package when unset.",
    )
    bundle_key: Path | None = Field(
        None, description="PEM file with an Ed25519 public key; a bundle that it did not sign is refused."
    )
    registry_url: str | None = Field(
        None, repr=False, description="MLflow server of the model registry: http(s)://[user:password@]HOST."
    )
    catalog: str | None = Field(None, description="Catalogue profile or file; the packaged default when unset.")
    policy: str | None = Field(None, description="Policy preset or file; the packaged default when unset.")
    database_url: str = Field(
        default_factory=default_database_url,
        repr=False,
        description="SQLAlchemy URL of the record store: SQLite, or postgresql://user:password@host/database.",
    )
    sessions_url: str | None = Field(
        None, repr=False, description="Redis that keeps sessions (redis://, rediss://, unix://); in memory when unset."
    )
    session_ttl_s: float = Field(6 * 3600, gt=0, description="A session is forgotten this long after its last request.")
    reload_s: float = Field(
        5.0, ge=0, description="Wait between looks for changed bundle, catalogue or policy files; 0: none."
    )
    learn_s: float = Field(300.0, ge=0, description="Wait between looks for new outcomes and spending; 0: no learning.")
    keys: Literal["auto", "on", "off"] = Field(
        "auto", description="Ask for an API key: auto (unless HOST is loopback), on, or off (let everyone in)."
    )
    rate_limit: str | None = Field(
        None, description="Requests per key, or per address without keys, such as 600/minute; no limit when unset."
    )
    tls_cert: Path | None = Field(None, description="PEM file with the certificate chain; plain HTTP when unset.")
    tls_key: Path | None = Field(None, description="PEM file with the certificate's private key.")
    trusted_proxies: str | None = Field(
        None, description="Addresses or networks whose X-Forwarded-For and -Proto count, with commas; none when unset."
    )
    max_header_bytes: int = Field(64 * 1024, ge=1024, description="Larger request lines and headers get 431.")
    max_headers: int = Field(200, ge=10, description="Requests with more headers get 431.")
    header_timeout_s: float = Field(10.0, gt=0, description="Wait for a request's headers; then the connection ends.")
    body_timeout_s: float = Field(30.0, gt=0, description="Wait for a request's whole body before it gets 408.")
    retention_days: float | None = Field(
        None, gt=0, description="Older decisions and their feedback are deleted; kept for ever when unset."
    )
    store_text: bool = Field(False, description="Store prompts and comments with the records.")
    max_body_bytes: int = Field(32 * 1024**2, ge=1024, description="Larger bodies get 413.")
    worker_read_bytes: int = Field(64 * 1024, ge=0, description="Larger bodies are read off the event loop.")
    max_held_bytes: int = Field(
        512 * 1024**2, ge=1024, description="Bodies held at once; beyond it the safe default is given unread."
    )
    n_threads: int = Field(1, ge=1, le=256, description="Threads of one inference.")
    max_bundle_slowdown: float = Field(
        3.0, gt=0, description="A new bundle that takes more times as long as the one that serves is refused."
    )
    max_queued_decisions: int = Field(64, ge=1, description="Inferences in wait before the safe default is given.")
    max_expected_wait_s: float = Field(
        0.2, gt=0, description="Expected wait for an inference beyond which the safe default is given at once."
    )
    decide_timeout_s: float = Field(2.0, gt=0, description="Wait for an inference before the safe default is given.")
    classify_max_inputs: int = Field(256, ge=1, le=4096, description="Inputs of one /v1/classify.")
    max_queued_classifies: int = Field(4, ge=1, description="Batches in wait before /v1/classify answers 429.")
    max_queued_records: int = Field(10_000, ge=1, description="Records in wait for the store before they are lost.")
    spool: Path | None = Field(
        None,
        description="File that keeps decisions while the database is away; beside an SQLite database, or in the user's "
        "data folder, when unset.",
    )
    spool_max_bytes: int = Field(256 * 1024**2, ge=0, description="Room for them; 0: none are kept on the disk.")
    store_timeout_s: float = Field(10.0, gt=0, description="Wait for a commit before feedback gets 503.")
    drain_timeout_s: int = Field(10, ge=1, description="Wait at shutdown for requests that are being answered.")
    flush_timeout_s: float = Field(10.0, gt=0, description="Wait for the store at shutdown.")
    traces_url: str | None = Field(
        None,
        description="OTLP/HTTP address of a collector for traces, such as http://otel:4318/v1/traces; none when unset.",
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of a log line: text, or json.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least level logged to stderr.")

    @field_validator("database_url")
    @classmethod
    def _supported_url(cls, url: str) -> str:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ValueError("is not a database URL; expected sqlite:///PATH or postgresql://...") from None
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise ValueError("names no file, and records in memory are lost; expected sqlite:///PATH")
            return url
        if backend in {"postgresql", "postgres"}:
            return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        raise ValueError(f"names the database {backend!r}; expected sqlite or postgresql")

    @field_validator("sessions_url")
    @classmethod
    def _redis_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("is not a Redis URL; expected redis://HOST, rediss://HOST or unix://PATH")
        return url

    @field_validator("rate_limit")
    @classmethod
    def _rate(cls, rate: str | None) -> str | None:
        if rate is not None:
            # Not at the top: the command line reads settings where the service is not installed whole.
            from .rates import parse_rate

            parse_rate(rate)
        return rate

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: str | None) -> str | None:
        try:
            return None if proxies is None else ",".join(str(ip_network(part.strip())) for part in proxies.split(","))
        except ValueError:
            raise ValueError("names no addresses; expected such as 10.0.0.5 or 10.0.0.0/8, with commas") from None

    @field_validator("registry_url", "traces_url")
    @classmethod
    def _http_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("is not a web address; expected http://HOST or https://HOST")
        return url

    @model_validator(mode="after")
    def _registry_is_known(self) -> "Settings":
        if str(self.bundle or "").startswith("models:/") and self.registry_url is None:
            raise ValueError(
                "POINTSMAN_BUNDLE names the registry, POINTSMAN_REGISTRY_URL is unset; expected its server"
            )
        return self

    @model_validator(mode="after")
    def _both_halves(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("POINTSMAN_TLS_CERT and POINTSMAN_TLS_KEY go together; one of them is unset")
        return self

    def checks_keys(self) -> bool:
        """Say whether requests need a key."""
        return self.keys == "on" or (self.keys == "auto" and not is_loopback(self.host))

    def spool_path(self) -> Path:
        """Return the spool's file: another one for every database, since what waits for one is not the other's."""
        if self.spool is not None:
            return self.spool
        url = make_url(self.database_url)
        if url.get_backend_name() == "sqlite":
            return Path(f"{url.database}.spool")
        named = url.set(query={}, password=None).render_as_string() + str(url.query.get("host", ""))
        return data_folder() / f"spool-{sha256(named.encode()).hexdigest()[:12]}.sqlite"

    def shown_database(self) -> str:
        """Return the database's URL without its password and options."""
        return make_url(self.database_url).set(query={}).render_as_string(hide_password=True)


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address; a name other than `localhost` may be anywhere."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; options given here win over it.

    Raises
    ------
    SettingsError
        A value cannot be used. The message names each, never a value that may hold a secret.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as exc:
        problems = [_problem(error["loc"], error["msg"], error["input"]) for error in exc.errors()]
        raise SettingsError(problems) from None


def _problem(location: tuple[int | str, ...], message: str, found: object) -> str:
    if not location:
        return message.removeprefix("Value error, ")
    name = str(location[0])
    shown = "" if name in {"database_url", "sessions_url", "registry_url"} else f" (found {found!r})"
    return f"{ENV_PREFIX}{name.upper()}: {message.removeprefix('Value error, ')}{shown}"

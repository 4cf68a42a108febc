"""`pointsman serve`. The web framework is imported when the command runs: without the extra, help still works."""

import argparse
import contextlib
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Final

from . import heap

if TYPE_CHECKING:
    from pointsman.classifier.router import Router

    from .settings import Settings

_OPTIONS: Final = {
    "host": "address to listen on (default 127.0.0.1: this machine only)",
    "port": "port to listen on (default 8095)",
    "bundle": "bundle folder (default: the one in the package)",
    "bundle-key": "PEM file with the public key of who must have signed the bundle",
    "catalog": "catalogue profile or file",
    "policy": "policy preset or file",
    "database-url": "record store: sqlite:///PATH or postgresql://user:password@host/database",
    "keys": "ask for an API key: auto (unless the host is loopback), on, or off",
    "tls-cert": "PEM file with the certificate chain, to serve HTTPS",
    "tls-key": "PEM file with the certificate's private key",
    "log-level": "debug, info, warning or error",
}


class ServeCommand:
    """Runs the decision service."""

    help = "answer over HTTP which model should take a turn"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options; each stands for the POINTSMAN_ variable of its name and wins over it."""
        parser.epilog = "Each option is an environment variable too, POINTSMAN_<OPTION>; serving/settings.py has more."
        for name, text in _OPTIONS.items():
            parser.add_argument(f"--{name}", help=text)
        parser.add_argument(
            "--store-text", action="store_true", default=None, help="keep prompts and comments in the record store"
        )

    def run(self, args: argparse.Namespace) -> int:
        """Serve until stopped; 0 after a stop, 2 when the start fails, with the reason on stderr."""
        try:
            with heap.made_to_stay():
                import uvicorn

                from . import access, app, live_model, logs, settings, telemetry, wire
        except ModuleNotFoundError as exc:
            return fail(missing(exc))
        from pointsman.classifier.errors import ClassifierError

        from .errors import ServingError

        names = [*(name.replace("-", "_") for name in _OPTIONS), "store_text"]
        try:
            chosen = settings.load_settings(**{name: getattr(args, name, None) for name in names})
            logs.configure_logs(chosen.log_level, chosen.log_format)
            _check_certificate(chosen)
            _allow_connections()
            heap.share_arenas()
            listener = _listen(chosen.host, chosen.port)
            with listener, contextlib.ExitStack() as starting:
                starting.enter_context(heap.made_to_stay())
                # Opened again by the app; tried here, where a failure is one line and no traceback.
                with contextlib.closing(app.open_store(chosen)) as store:
                    access.Access(chosen, telemetry.Telemetry()).load(store)
                router = live_model.open_router(chosen)
                print(_greeting(chosen, router, listener), file=sys.stderr, flush=True)
                # log_config=None: uvicorn's lines go where ours go. Access lines would hold paths that clients choose.
                config = uvicorn.Config(
                    app.create_app(chosen, router),
                    http=wire.bounded_protocol(chosen),
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    ws="none",
                    # Nobody is believed about who the client is, unless named; uvicorn itself believes this machine.
                    proxy_headers=chosen.trusted_proxies is not None,
                    forwarded_allow_ips=chosen.trusted_proxies,
                    # Requests that are being answered have this long at a stop; the records' own wait comes after it.
                    timeout_graceful_shutdown=chosen.drain_timeout_s,
                    ssl_certfile=chosen.tls_cert,
                    ssl_keyfile=chosen.tls_key,
                )
                server = uvicorn.Server(config)
                starting.close()
                server.run(sockets=[listener])
                return 0 if server.started else 2
        except (ClassifierError, ServingError, OSError) as exc:
            return fail(str(exc))


def _listen(host: str, port: int) -> socket.socket:
    """Bind before anything is loaded: a port that is taken should say so at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port}: {exc.strerror}. Choose another with --port.") from exc
    return listener


def _allow_connections() -> None:
    """Take as many open files as this account may have: every connection is one, and the usual default is 1024."""
    try:
        import resource
    except ModuleNotFoundError:
        return  # Windows has no such limit
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A container may have none: leave what the system chose.
    if most != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _check_certificate(settings: "Settings") -> None:
    """Load it once before anything else is loaded: the server's own failure would be a traceback."""
    if settings.tls_cert is None:
        return
    from .errors import SettingsError

    try:
        # A password callback: without one a key with a password would be asked for on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, FileNotFoundError | PermissionError) else "no such pair of PEM files"
        pair = f"POINTSMAN_TLS_CERT {settings.tls_cert} and POINTSMAN_TLS_KEY {settings.tls_key}"
        raise SettingsError([f"{pair} cannot be used: {reason}"]) from exc


def _greeting(settings: "Settings", router: "Router", listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.tls_cert else "http"
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    header = ' -H "x-pointsman-key: $POINTSMAN_KEY"' if settings.checks_keys() else ""
    n_models = len(router.catalog.models)
    text = "prompts are stored" if settings.store_text else "no prompt text is stored"
    return (
        f"Pointsman decides on {url} (model {router.model_version}, {n_models} models in catalogue "
        f"{router.catalog.version}, records in {settings.shown_database()}, {text}).\n"
        f"Console: {url}/\n"
        f"Try: curl -s {url}/v1/decide{header} "
        f'-d \'{{"prompt": "Fix the race condition in our payment webhook handler"}}\'\n'
        f"API: {url}/docs\n{_who_is_let_in(settings)}"
    )


def _who_is_let_in(settings: "Settings") -> str:
    if settings.checks_keys():
        plain = "" if settings.tls_cert else " They travel in clear text: set POINTSMAN_TLS_CERT, or keep TLS in front."
        return f"Requests need an API key ('pointsman keys create').{plain}"
    if settings.keys == "off":
        return "WARNING: API keys are off (POINTSMAN_KEYS=off). Whoever reaches this address can ask, judge and read."
    return "WARNING: API keys are off, since only this machine reaches this address. POINTSMAN_KEYS=on asks for them."


def missing(exc: ModuleNotFoundError) -> str:
    """Say which package is not there, and how to get it."""
    name = (exc.name or "a package").partition(".")[0]
    return f"serving needs {name}, which is not installed. Run: pip install 'pointsman[serving]'."


def fail(message: str) -> int:
    """Say on stderr why a command ends; 2."""
    print(f"pointsman: {message}", file=sys.stderr)
    return 2

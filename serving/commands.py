"""`pointsman serve`. The web framework is imported when the command runs: without the extra, help still works."""

import argparse
import socket
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pointsman.classifier.router import Router

    from .settings import Settings

_OPTIONS: Final = {
    "host": "address to listen on (default 127.0.0.1: this machine only)",
    "port": "port to listen on (default 8095)",
    "bundle": "bundle folder (default: the one in the package)",
    "catalog": "catalogue profile or file",
    "policy": "policy preset or file",
    "database-url": "record store: sqlite:///PATH or postgresql://user:password@host/database",
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
            import uvicorn

            from . import app, live_model, logs, settings
        except ModuleNotFoundError as exc:
            return _fail(_missing(exc))
        from pointsman.classifier.errors import ClassifierError

        from .errors import ServingError

        names = [*(name.replace("-", "_") for name in _OPTIONS), "store_text"]
        try:
            chosen = settings.load_settings(**{name: getattr(args, name, None) for name in names})
            logs.configure_logs(chosen.log_level)
            listener = _listen(chosen.host, chosen.port)
            with listener:
                # Opened again by the app; tried here, where a failure is one line and no traceback.
                app.open_store(chosen).close()
                router = live_model.open_router(chosen)
                print(_greeting(chosen, router, listener), file=sys.stderr, flush=True)
                # log_config=None: uvicorn's lines go where ours go. Access lines would hold paths that clients choose.
                config = uvicorn.Config(
                    app.create_app(chosen, router), log_config=None, access_log=False, server_header=False, ws="none"
                )
                server = uvicorn.Server(config)
                server.run(sockets=[listener])
                return 0 if server.started else 2
        except (ClassifierError, ServingError, OSError) as exc:
            return _fail(str(exc))


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


def _greeting(settings: "Settings", router: "Router", listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    n_models = len(router.catalog.models)
    text = "prompts are stored" if settings.store_text else "no prompt text is stored"
    return (
        f"Pointsman decides on {url} (model {router.model_version}, {n_models} models in catalogue "
        f"{router.catalog.version}, records in {settings.shown_database()}, {text}).\n"
        f'Try:  curl -s {url}/v1/decide -d \'{{"prompt": "Fix the race condition in our payment webhook handler"}}\'\n'
        f"API:  {url}/docs"
    )


def _missing(exc: ModuleNotFoundError) -> str:
    name = (exc.name or "a package").partition(".")[0]
    return f"serving needs {name}, which is not installed. Run: pip install 'pointsman[serving]'."


def _fail(message: str) -> int:
    print(f"pointsman: {message}", file=sys.stderr)
    return 2

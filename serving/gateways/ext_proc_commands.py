"""`pointsman ext-proc`: the processor that Envoy asks over gRPC."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pointsman.classifier.errors import ClassifierError

if TYPE_CHECKING:
    from .ext_proc_settings import ExtProcSettings

logger = logging.getLogger(__name__)

# Requests under way at a stop: their decisions take a quarter of a second at most.
_GRACE_S: Final = 1.0


class ExtProcCommand:
    """Runs the processor."""

    help = "answer Envoy's ext_proc filter over gRPC"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("settings", type=Path, help="the ext-proc.yaml of `pointsman gateway envoy-ext-proc`")
        parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))

    def run(self, args: argparse.Namespace) -> int:
        """Serve until stopped; 0 after a stop, 2 when the start fails, with the reason on stderr."""
        try:
            from pointsman.serving.logs import configure_logs

            from .ext_proc import start_server
            from .ext_proc_settings import ExtProcSettings
        except ModuleNotFoundError as exc:
            return _fail(f"ext-proc needs {exc.name}, which is not installed. Run: pip install 'pointsman[envoy]'.")
        configure_logs(args.log_level)

        async def serve(settings: "ExtProcSettings") -> None:
            stopping = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stopping.set)
            server, processor, port = await start_server(settings)
            logger.info("Envoy may ask", extra={"listen": settings.listen, "port": port, "service": settings.url})
            await stopping.wait()
            await server.stop(_GRACE_S)
            await processor.close()
            logger.info("stopped", extra=dict(processor.counts))

        try:
            settings = ExtProcSettings.load(args.settings)
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(serve(settings))
        except (ClassifierError, OSError, ValueError) as exc:
            return _fail(str(exc))
        return 0


def _fail(message: str) -> int:
    print(f"pointsman: {message}", file=sys.stderr)
    return 2

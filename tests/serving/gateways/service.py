"""The real service on a real port around an assessor with chosen answers; one for many tests."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from pointsman.serving.app import create_app
from pointsman.serving.settings import load_settings

from ..conftest import Server, wait_until_ready
from ..fakes import fake_router


@contextmanager
def running_service(database: Path, *, keys: str = "auto", **router: Any) -> Iterator[Server]:
    """Serve until the block ends. Tests that share it name sessions of their own; `router` as for `fake_router`."""
    settings = load_settings(database_url=f"sqlite:///{database}", decide_timeout_s=20, keys=keys)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(settings, fake_router(**router)), log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    address = listener.getsockname()
    with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", trust_env=False, timeout=20) as http:
        wait_until_ready(http)
        yield Server(address, http)
    server.should_exit = True
    thread.join(20)
    listener.close()

"""The endpoints that are measured: `python -m tests.benchmarks.endpoints NAME [--server SERVER] [--workers N]`.

empty   FastAPI with one route that answers a constant
raw     FastAPI with one route that parses the body, runs tokeniser and graph in a thread, and answers logits
ours    the service, settings from the environment; for servers other than its own
"""

import argparse
import asyncio
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import orjson
from fastapi import FastAPI, Request, Response

from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.request import read_digest
from pointsman.classifier.text import build_text


def empty():
    app = FastAPI()

    @app.post("/v1/decide")
    @app.get("/")
    async def answer() -> dict[str, str]:
        return {"model": "one"}

    return app


def raw():
    app = FastAPI()
    encoder = OnnxEncoder.load(load_bundle())
    thread = ThreadPoolExecutor(1)

    def infer(digest):
        return encoder.encode([build_text(read_digest(digest))]).logits["category"].tolist()

    @app.get("/")
    async def is_there() -> Response:
        return Response()

    @app.post("/v1/decide")
    async def answer(request: Request) -> Response:
        digest = orjson.loads(await request.body())
        logits = await asyncio.get_running_loop().run_in_executor(thread, infer, digest)
        return Response(orjson.dumps(logits), media_type="application/json")

    return app


def ours():
    from pointsman.serving.app import create_app
    from pointsman.serving.settings import load_settings

    return create_app(load_settings())


def uvicorn(target, port, n_workers):
    import uvicorn

    uvicorn.run(target, factory=True, port=port, workers=n_workers, log_config=None, access_log=False, ws="none")


def granian(target, port, n_workers):
    from granian import Granian
    from granian.constants import Interfaces

    Granian(target, port=port, workers=n_workers, factory=True, interface=Interfaces.ASGI, log_enabled=False).serve()


SERVERS = {"uvicorn": uvicorn, "granian": granian}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=["empty", "raw", "ours"])
    parser.add_argument("--server", choices=SERVERS, default="uvicorn")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    print(f"http://127.0.0.1:{port}", file=sys.stderr, flush=True)
    SERVERS[args.server](f"tests.benchmarks.endpoints:{args.name}", port, args.workers)


if __name__ == "__main__":
    main()

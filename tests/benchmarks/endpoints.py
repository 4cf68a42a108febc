"""The endpoints that ours is measured against, on the same web server: `python -m tests.benchmarks.endpoints NAME`.

empty   FastAPI with one route that answers a constant
raw     FastAPI with one route that parses the body, runs tokeniser and graph in a thread, and answers logits
"""

import asyncio
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import orjson
import uvicorn
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


def main():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app = {"empty": empty, "raw": raw}[sys.argv[1]]()
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()

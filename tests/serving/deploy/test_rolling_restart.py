"""Two replicas behind nginx are replaced one after the other while requests keep coming: none fails, none is lost."""

import shutil
import threading

import httpx
import pytest
import sqlalchemy as sa

from pointsman.serving.store import DECISIONS, FEEDBACK, Store

from ..gateways.processes import free_port, running
from ..processes import ROOT, ServeProcess
from ..redis_server import RedisServer

N_CLIENTS = 4


class Traffic:
    """Clients that decide and judge until the block ends, and remember every answer."""

    def __init__(self, url):
        self._url = url
        self.wrong, self.decided, self.judged = [], set(), set()
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=[number]) for number in range(N_CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self, worker):
        number = 0
        with httpx.Client(base_url=self._url, trust_env=False, timeout=30) as http:
            while not self._is_over.is_set():
                number += 1
                self._turn(http, f"{worker}-{number}")

    def _turn(self, http, name):
        asked = self._post(http, "/v1/decide", {"prompt": f"fix the race {name}", "session_id": name})
        if asked is None:
            return
        decision_id = asked.json()["decision_id"]
        self.decided.add(decision_id)
        key = {"idempotency-key": f"key-{name}"}
        body = {"decision_id": decision_id, "outcome": "success"}
        if self._post(http, "/v1/feedback", body, headers=key) is not None:
            self.judged.add(decision_id)

    def _post(self, http, path, body, **options):
        try:
            response = http.post(path, json=body, **options)
        except httpx.TransportError as exc:
            self.wrong.append(repr(exc))
            return None
        if response.status_code not in {200, 201}:
            self.wrong.append(f"{path} {response.status_code} {response.text}")
            return None
        return response


@pytest.fixture
def replicas(tmp_path, postgres_url):
    sessions = RedisServer().start()
    replicas = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        replicas.append(ServeProcess(folder, postgres_url, sessions_url=sessions.url).start())
    yield replicas
    for replica in replicas:
        if replica.process.poll() is None:
            replica.kill()
    sessions.remove()


@pytest.fixture
def proxy(tmp_path, replicas):
    """The nginx configuration that ships, with the ports of this run."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed here (apt install nginx-light)")
    port = free_port()
    text = (ROOT / "serving" / "deploy" / "nginx.conf").read_text()
    for old, new in (("8095", replicas[0].port), ("8096", replicas[1].port), ("8090", port)):
        assert f"127.0.0.1:{old}" in text
        text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    folder = tmp_path / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(text)
    command = [nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
    command += ["-g", f"daemon off; master_process off; pid {folder}/nginx.pid;"]
    with running(command, port, folder, environment={}, ready="/healthz", wait_s=30) as gateway:
        yield gateway


@pytest.mark.postgres
def test_replicas_are_replaced_while_requests_keep_coming(replicas, proxy, postgres_url):
    with Traffic(proxy.url) as traffic:
        for replica in replicas * 2:
            n_before = len(traffic.judged)
            replica.until(lambda n=n_before: len(traffic.judged) > n + 20)
            replica.stop()
            n_before = len(traffic.judged)
            replicas[0].until(lambda n=n_before: len(traffic.judged) > n + 20)
            replica.start()
    for replica in replicas:
        replica.stop()
    print(f"{len(traffic.decided)} decisions, {len(traffic.judged)} judged, 4 restarts, {len(traffic.wrong)} failed")
    assert traffic.wrong == []
    store = Store(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with store.engine.connect() as connection:
        decided = set(connection.execute(sa.select(DECISIONS.c.decision_id)).scalars())
        judged = connection.execute(sa.select(FEEDBACK.c.decision_id)).scalars().all()
    store.close()
    assert (traffic.decided - decided, traffic.judged - set(judged), len(judged) - len(set(judged))) == (
        set(),
        set(),
        0,
    )

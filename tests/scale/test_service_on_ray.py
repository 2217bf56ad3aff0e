"""The tests of HTTP once more, with the pictures painted by replicas on a real Ray cluster of two nodes."""

import os
import signal
import threading
import time

import pytest
from starlette.testclient import TestClient

from cluster import Cluster
from edges.test_http import *  # noqa: F403 - all its tests and fixtures
from edges.test_http import DRAFT, FILES
from impasto.serve.http import make_app
from impasto.serve.service import Service
from impasto.serve.settings import ServeSettings

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [pytest.mark.process, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster():
    with Cluster(nodes=4) as started:
        yield started


@pytest.fixture(scope="module")
def replicas(cluster):
    """What paints on the cluster, and how pictures are handed to it."""
    from impasto.engine.engine import Engine
    from impasto.serve.replicas import Scaling, deployed

    with deployed(cluster.address, Engine(), ServeSettings(), scaling=Scaling(most=2), threads=1) as elsewhere:
        yield elsewhere


@pytest.fixture
def serving(replicas, store):
    """As in `test_http`, over the cluster."""
    from impasto.engine.engine import Engine

    made = []

    def make(listening=None, **limits):
        service = Service(Engine(store=store), ServeSettings(**limits), elsewhere=replicas)
        service.start()
        made.append(service)
        client = TestClient(make_app(service, listening), raise_server_exceptions=False)
        client.service = service
        return client

    yield make
    for service in made:
        service.close(0)


def test_a_replica_that_dies_loses_no_picture(serving, cluster):
    client = serving()
    statuses = []

    def post():
        statuses.append(client.post("/v1/stylize", files=FILES, data=DRAFT).status_code)

    threads = [threading.Thread(target=post) for _ in range(12)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    killed = cluster.processes("ServeReplica")[:1]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert killed
    assert statuses == [200] * 12

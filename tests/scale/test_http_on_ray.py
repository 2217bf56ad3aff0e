"""The tests of HTTP once more, with the pictures painted by replicas on a real Ray cluster of four nodes."""

import os
import signal
import threading
import time

import pytest

from edges.conftest import outcome, refused, run  # noqa: F401 - fixtures
from edges.test_http import *  # noqa: F403 - all its tests and fixtures
from edges.test_http import DRAFT, FILES

pytestmark = [pytest.mark.process, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


def test_a_replica_that_dies_loses_no_picture(serving, service_cluster):
    client = serving()
    statuses = []

    def post():
        statuses.append(client.post("/v1/stylize", files=FILES, data=DRAFT).status_code)

    threads = [threading.Thread(target=post) for _ in range(12)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    killed = service_cluster.processes("ServeReplica")[:1]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert killed
    assert statuses == [200] * 12

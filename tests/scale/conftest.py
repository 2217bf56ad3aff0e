"""A Ray cluster, and a service whose pictures are painted on it, with the weights that users have."""

import pytest

from cluster import Cluster


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with Cluster(nodes=2) as started:
        yield started


@pytest.fixture(scope="session")
def service_cluster():
    """Two nodes for each kind of replicas. One for all modules: threads of Ray Serve outlive a connection."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with Cluster(nodes=4) as started:
        yield started


@pytest.fixture(scope="session")
def real_engine():
    from impasto.engine.engine import Engine

    return Engine(runtime="torch")


@pytest.fixture
def engine(real_engine):
    """The engine that pictures are compared with: the same weights as on the cluster."""
    return real_engine


@pytest.fixture(scope="session")
def replicas(service_cluster, real_engine):
    """What paints on the cluster, and how pictures are handed to it; one replica of each kind runs."""
    from impasto.contract import ignore
    from impasto.engine.request import Request, Task
    from impasto.serve.replicas import Scaling, deployed
    from impasto.serve.settings import ServeSettings
    from serving import png

    scaling = Scaling(most=2, idle_seconds=900.0)
    with deployed(service_cluster.address, real_engine, ServeSettings(), scaling=scaling, threads=1) as elsewhere:
        task = Task(png(0), [(png(1), 1.0)], Request("optimize", knobs={"steps": 1}))
        (painted,) = elsewhere[0].paint_all([task], [ignore])
        assert not isinstance(painted, Exception), painted
        yield elsewhere


@pytest.fixture
def service_of(replicas, engine):
    """As in tests/conftest.py, over the cluster."""
    from impasto.serve.service import Service

    return lambda limits=None: Service(engine, limits, elsewhere=replicas)

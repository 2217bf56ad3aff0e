"""A real Ray cluster of several nodes in this machine, started and stopped by a process of its own."""

import os
import socket
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from ray.cluster_utils import Cluster
nodes = int(sys.argv[1])
each = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=each)
for _ in range(nodes - 1):
    cluster.add_node(**each)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


TRIES = 3  # a busy machine may miss one of Ray's own time limits


def free_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Cluster:
    """Nodes of one processor each; a context manager. `address` is that of the cluster."""

    def __init__(self, nodes):
        self._nodes = nodes

    def __enter__(self):
        for _ in range(TRIES):
            self._start()
            if self.address:
                return self
            self.__exit__()
        raise AssertionError("no cluster could be started")

    def _start(self):
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(self._nodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.address = self._process.stdout.readline().strip()

    def processes(self, title):
        """Ids of the cluster's processes that have a word in their title."""
        parents, titles = {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue

        def ours(pid):
            while pid in parents and pid != self._process.pid:
                pid = parents[pid]
            return pid == self._process.pid

        return sorted(pid for pid, own in titles.items() if title in own and ours(pid))

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(timeout=600)
        self._process.stdout.close()

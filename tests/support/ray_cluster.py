"""Runs `lookonce ARGUMENTS` on a Ray cluster of two nodes of this machine, while workers and a node are killed.

It runs in the environment of `./run ray`. `python ray_cluster.py SEED ARGUMENTS...` prints the numbers of workers and
nodes that were killed.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 2, "object_store_memory": 100 << 20}


def descendants(process: int) -> list[int]:
    children = []
    for tasks in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            children += [int(child) for child in tasks.read_text().split()]
    return children + [one for child in children for one in descendants(child)]


def workers() -> list[int]:
    """Processes of Ray below this one that detect objects: Ray names them after their actor."""
    found = []
    for process in descendants(os.getpid()):
        with suppress(OSError):
            if b"ray::" in (words := Path(f"/proc/{process}/cmdline").read_bytes()) and b"Worker" in words:
                found.append(process)
    return found


def kill(cluster: Cluster, detects: subprocess.Popen[bytes], chance: random.Random) -> tuple[int, int]:
    """Kill a worker at random times, and once a node, which another replaces; returns the numbers of both."""
    second = cluster.list_all_nodes()[1]
    killed = nodes = 0
    while detects.poll() is None and killed < 4:
        time.sleep(chance.uniform(0.5, 3))
        if found := workers():
            with suppress(ProcessLookupError):
                os.kill(chance.choice(found), signal.SIGKILL)
                killed += 1
        if killed and not nodes:
            cluster.remove_node(second, allow_graceful=False)
            cluster.add_node(**NODE)
            nodes += 1
    return killed, nodes


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    cluster.add_node(**NODE)
    try:
        detects = subprocess.Popen([sys.executable, "-m", "lookonce", *sys.argv[2:], "--address", cluster.address])
        print("killed", *kill(cluster, detects, random.Random(int(sys.argv[1]))))
        status = detects.wait()
    finally:
        cluster.shutdown()
    sys.exit(status)

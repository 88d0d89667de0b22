#!/usr/bin/env python3
# timeout: 600
"""Three servers under a steady load of writes and watches: the leader and followers are killed, stopped and cut off, in
every way that there is. Nothing acknowledged is lost, a refusal was never a write, watches have no gap. Longer by
CLUSTER_ROUNDS."""
import os
import signal
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, run
from cluster import Cluster
from load import Load

ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "1"))
cluster = Cluster(3)
cluster.start()
cluster.wait_voters(3)


def others(device):
    return [d for d in cluster.devices if d is not device]


def under_load(label, trouble):
    """`trouble` with one device after the other being in trouble; all are well again afterwards."""
    load = Load(cluster.devices, label).start()
    load.progress()
    for _ in range(ROUNDS):
        for pick in (lambda: cluster.leader(), lambda: cluster.followers()[0]):
            device = pick()
            trouble(device, load)
            load.progress()
    cluster.leader()
    load.stop()
    load.check(cluster.devices)


@case
def killed():
    def trouble(device, load):
        device.kill()
        cluster.leader(others(device))
        load.progress()
        device.start_daemon()

    under_load("kill", trouble)


@case
def stopped_and_continued():
    def trouble(device, load):
        device.process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        load.progress()
        device.process.send_signal(signal.SIGCONT)

    under_load("stop", trouble)


@case
def cut_off_both_ways():
    def trouble(device, load):
        cluster.cut(device, "both")
        cluster.leader(others(device))
        time.sleep(2)
        load.progress()
        cluster.heal()

    under_load("cut", trouble)


@case
def hears_nothing():
    def trouble(device, load):
        cluster.cut(device, "in")
        cluster.leader(others(device))
        time.sleep(2)
        load.progress()
        cluster.heal()

    under_load("deaf", trouble)


@case
def nobody_hears_it():
    def trouble(device, load):
        cluster.cut(device, "out")
        cluster.leader(others(device))
        time.sleep(2)
        load.progress()
        cluster.heal()

    under_load("mute", trouble)


@case
def without_a_majority_nothing_is_acknowledged():
    follower = cluster.followers()[0]
    rest = others(follower)
    for device in rest:
        cluster.cut(device, "both")

    def refused():
        connection = follower.api("POST", "/api/v1/namespaces/default/configmaps",
                                  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "minority"}}, check=False)
        return connection.get("code") == 503

    eventually(refused, 40, "a write without a majority is refused")
    cluster.heal()
    cluster.leader()
    names = follower.names("/api/v1/namespaces/default/configmaps")
    expect("minority" not in names, "a refused write was made")


@case
def nobody_was_taken_for_dead():
    """All of this took longer than the grace period of 40 s, and nobody was away for so long."""
    for node in cluster.leader().api("GET", "/api/v1/nodes")["items"]:
        taints = [t["key"] for t in node["spec"].get("taints", [])]
        expect("node.kubernetes.io/unreachable" not in taints, f"{node['metadata']['name']}: {taints}")
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node['metadata']['name']}"
        # A new leader knows of nobody yet, and hears of all within an interval.
        eventually(lambda: cluster.devices[0].api("GET", path)["spec"].get("renewTime"), 30, f"{path} is renewed")


run(cluster, at_once=1)

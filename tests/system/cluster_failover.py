#!/usr/bin/env python3
# timeout: 900
"""Three servers under a steady load of writes and watches, with kubectl on each: everything that can happen to one happens
to the leader and to a follower. Nothing acknowledged is lost, a refusal was never a write, watches have no gap, and
nobody is elected without need. Longer by CLUSTER_ROUNDS."""
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, run
from cluster import Cluster
from faults import FAULTS, give_disks, strike

ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "1"))
cluster = Cluster(3)
give_disks(cluster)
cluster.start()
cluster.wait_voters(3)


def table_case(name):
    def one():
        strike(cluster, name, ["leader", "follower"], ROUNDS)

    one.__name__ = name
    case(one)


for fault in FAULTS:
    table_case(fault)


@case
def without_a_majority_nothing_is_acknowledged():
    follower = cluster.followers()[0]
    for device in cluster.devices:
        if device is not follower:
            cluster.cut(device, "both")
    eventually(lambda: cluster.status(follower)["leader"] == "", 20, "it knows of no leader")

    def refused():
        answer = follower.api("POST", "/api/v1/namespaces/default/configmaps",
                              {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "minority"}}, check=False)
        return answer.get("code") == 503

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

#!/usr/bin/env python3
# timeout: 300
"""Servers whose addresses change are followed: a follower, the leader, and two of three at once, of which each can reach
only the one that stays."""
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, run
from cluster import Cluster
from limpet import config_map

cluster = Cluster(3)
cluster.start()
cluster.wait_voters(3)
fresh = iter(f"10.99.0.{number}" for number in range(50, 60))


def followed(device):
    """Its record, as its leader and as the last server has it."""
    def everywhere():
        cluster.leader()
        return all(cluster.member(device.name, d)["addresses"] == [f"{device.address}:6444"] for d in cluster.devices)

    eventually(everywhere, 60, f"all have the new address of {device.name}")


def all_is_well(name):
    cluster.leader().create(config_map(name, a="b"))
    for device in cluster.devices:
        eventually(lambda: cluster.status(device)["health"]["ok"], 30, f"{device.name} is well")
        eventually(lambda: device.api("GET", f"/api/v1/namespaces/default/configmaps/{name}")["data"] == {"a": "b"}, 20,
                   f"{device.name} reads it")


@case
def a_follower_moves():
    follower = cluster.followers()[0]
    cluster.move(follower, next(fresh))
    followed(follower)
    all_is_well("follower")


@case
def the_leader_moves():
    leader = cluster.leader()
    cluster.move(leader, next(fresh))
    followed(leader)
    all_is_well("leader")


@case
def two_move_at_once():
    # The leader may be one of the two, or the one that stays.
    for stays in (cluster.followers()[0], cluster.leader()):
        moving = [d for d in cluster.devices if d is not stays]
        for device in moving:
            cluster.move(device, next(fresh))
        for device in moving:
            followed(device)
        all_is_well(f"two-{stays.name}")


run(cluster, at_once=1)

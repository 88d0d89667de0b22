#!/usr/bin/env python3
# timeout: 900
"""Five servers vote: everything that can happen to one of them, to the leader or a follower in turn (to both in each of
CLUSTER_ROUNDS, if it is set); two may be lost at once, with three nothing is written any more; a server is removed while
others are away."""
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from cluster import Cluster
from faults import FAULTS, give_disks, strike
from limpet import config_map
from load import PATH, Load

ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "0"))
cluster = Cluster(5)
give_disks(cluster)
cluster.start()
cluster.wait_voters(5, 90)


def others(*without):
    return [d for d in cluster.devices if d not in without]


@case
def two_may_be_lost():
    load = Load(cluster.devices, "two").start()
    load.progress()
    leader = cluster.leader()
    second = others(leader)[0]
    leader.kill()
    second.kill()
    rest = others(leader, second)
    cluster.leader(rest)
    load.progress()
    eventually(lambda: "one more loss stops writes" in cluster.status(rest[0])["health"]["message"], 20, "the status says so")
    expect_match("one more loss stops writes", cluster.limpet(rest[0], "cluster status", status=1))

    third = rest[0]
    third.kill()
    tries, refused = 0, set()

    def is_refused():
        nonlocal tries
        tries += 1
        if rest[1].api("POST", PATH, config_map(f"minority-{tries}"), check=False).get("code") == 503:
            refused.add(f"minority-{tries}")
        return refused

    eventually(is_refused, 90, "two of five write nothing")
    for device in (leader, second, third):
        device.start_daemon(wait=False)
    for device in (leader, second, third):
        device.wait_ready(60)
    load.progress()
    load.stop()
    load.check(cluster.devices)
    expect(not refused & set(third.names(PATH)), "what was refused was not written")


def table_case(name, role):
    def one():
        strike(cluster, name, ["leader", "follower"] if ROUNDS else [role], ROUNDS or 1)

    one.__name__ = name
    case(one)


for number, fault in enumerate(FAULTS):
    table_case(fault, ["leader", "follower"][number % 2])


@case
def one_is_removed_while_another_is_away():
    leader = cluster.leader()
    away, leaves = others(leader)[:2]
    away.kill()
    cluster.limpet(leader, f"node remove {leaves.name}")
    expect(cluster.member(leaves.name, leader) is None, f"{leaves.name} is out")
    away.start_daemon()
    eventually(lambda: cluster.member(away.name, away)["role"] in ("voter", "learner"), 30, "it is still one of them")
    eventually(lambda: sum(m["role"] == "voter" for m in cluster.status(leader)["members"]) == 3, 30, "an odd number votes")
    one = away.api("POST", PATH, config_map("after-removal"))
    expect_equal(one["kind"], "ConfigMap")


run(cluster, at_once=1)

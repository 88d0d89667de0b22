#!/usr/bin/env python3
# timeout: 400
"""Profile metered: heartbeats are ten seconds apart, and still a lost leader is replaced within a minute, whether it
falls silent or is killed; what is asked of a follower does not wait for a heartbeat."""
import os
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, run
from cluster import Cluster
from limpet import config_map

FAIL_OVER_S = 60
cluster = Cluster(3, profile="metered")
cluster.start()
cluster.wait_voters(3, 120)


def fails_over(name, trouble):
    leader = cluster.leader(seconds=120)
    rest = [d for d in cluster.devices if d is not leader]
    began = time.monotonic()
    trouble(leader)

    def written():
        for device in rest:
            try:
                return device.api("POST", "/api/v1/namespaces/default/configmaps", config_map(name, a="b"))
            except (Failure, OSError):
                pass
        return None

    eventually(written, FAIL_OVER_S, "a write is accepted", every=0.5)
    expect(time.monotonic() - began <= FAIL_OVER_S, "in time")
    expect(cluster.leader(rest, 60) is not leader, "another one leads")
    return leader


@case
def what_is_asked_waits_for_no_heartbeat():
    follower = cluster.followers()[0]
    began = time.monotonic()
    follower.create(config_map("through", a="b"))
    expect("through" in follower.names("/api/v1/namespaces/default/configmaps"), "it is there")
    expect(time.monotonic() - began < 5, f"a write and a read at a follower took {time.monotonic() - began:.1f} s")


@case
def leaders_are_left_alone():
    # Five heartbeats: none of the followers misses them.
    before = cluster.status()["term"]
    time.sleep(50)
    expect(cluster.status()["term"] == before, "nobody was taken for lost")


@case
def a_leader_that_is_cut_off_is_replaced():
    cut = fails_over("cut", lambda leader: cluster.cut(leader, "both"))
    cluster.heal()
    eventually(lambda: cluster.status(cut)["leader"] not in ("", cut.name), 120, "it follows the new one")


@case
def a_leader_that_is_killed_is_replaced():
    killed = fails_over("killed", lambda leader: leader.kill())
    killed.start_daemon(wait=False)
    eventually(lambda: cluster.status(killed)["leader"] not in ("", killed.name), 120, "it follows the new one")


run(cluster, at_once=1)

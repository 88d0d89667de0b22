#!/usr/bin/env python3
# timeout: 300
"""Servers that are stopped in good order under a steady load of writes: a leader hands over first, so that nobody has to
miss it; all three are restarted one after the other and nothing is lost."""
import os
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, expect, expect_equal, expect_match, run
from cluster import Cluster
from load import Load

LONGEST = 3.0  # without a write; about 0.1 s on a machine that is not busy, 2 s and more where nobody hands over
cluster = Cluster(3)
cluster.start()
cluster.wait_voters(3)


def others(device):
    return [d for d in cluster.devices if d is not device]


def refused_at(load, devices):
    """The longest time without an acknowledged write through devices that run."""
    return max(w.longest_gap for w in load.writers if w.device in devices)


def handed_over(device):
    with open(device.log_file, encoding="utf-8") as file:
        return file.read().count("another server leads now")


@case
def a_leader_that_is_stopped_hands_over():
    load = Load(cluster.devices, "hand").start()
    load.progress()
    leader = cluster.leader()
    rest = others(leader)
    for writer in load.writers:
        writer.longest_gap = 0.0
    began = time.monotonic()
    expect_equal(leader.stop(), 0, "exit status of the leader")
    took = time.monotonic() - began
    cluster.leader(rest)
    load.progress()
    leader.start_daemon()
    cluster.leader()
    gap = refused_at(load, rest)
    load.stop()
    print(f"the leader stopped in {took:.2f} s, longest gap through the others {gap:.2f} s", flush=True)
    load.check(cluster.devices)
    expect(gap < LONGEST, f"no write for {gap:.2f} s")
    expect_equal(handed_over(leader), 1, "times that it handed over")


@case
def all_are_restarted_one_after_the_other():
    load = Load(cluster.devices, "roll").start()
    load.progress()
    gaps = []
    before = sum(map(handed_over, cluster.devices))
    # The leader first: whoever leads then is stopped as leader, too.
    for _ in cluster.devices:
        device = cluster.leader()
        rest = others(device)
        for writer in load.writers:
            writer.longest_gap = 0.0
        expect_equal(device.stop(), 0, f"exit status of {device.name}")
        cluster.leader(rest)
        load.progress()
        device.start_daemon()
        cluster.leader()
        gaps.append(refused_at(load, rest))
    load.stop()
    print("longest gaps: " + ", ".join(f"{g:.2f} s" for g in gaps), flush=True)
    load.check(cluster.devices)
    expect(max(gaps) < LONGEST, f"gaps of {gaps}")
    expect_equal(sum(map(handed_over, cluster.devices)) - before, 3, "each handed over")


@case
def the_last_of_them_stops_without_anybody_to_hand_over_to():
    leader = cluster.leader()
    for device in others(leader):
        expect_equal(device.stop(), 0)
    began = time.monotonic()
    expect_equal(leader.stop(), 0, "exit status")
    took = time.monotonic() - began
    expect(took < 10, f"stopping took {took:.1f} s")
    expect_match("stopped$", leader.log_tail(3))
    for device in cluster.devices:
        device.start_daemon(wait=False)
    cluster.leader()


run(cluster, at_once=1)

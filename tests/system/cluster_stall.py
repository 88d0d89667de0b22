#!/usr/bin/env python3
# timeout: 400
"""The disk of one of three servers stands still for 30 s, under small writes through all of them and large ones through the
others. A follower's is no reason to elect anybody, nor to keep in memory what it was not given; a leader whose disk it is
hands over, and catches up as a follower."""
import os
import sys
import threading
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, run
from cluster import Cluster
from faults import disk_stalled, give_disks, through_kubectl
from limpet import pss_kb
from load import PATH, Load

SECONDS = 30
LARGE = 200  # KiB
GROWS = 16 << 10  # KiB that a daemon may grow by, while twice as much is written
HANDS_OVER = 10.0  # s; about two on a machine that is not busy

cluster = Cluster(3)
give_disks(cluster, megabytes=256)  # history is kept by number, not by size
cluster.start()
cluster.wait_voters(3)


class Large(threading.Thread):
    """Writes one large object again and again."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.device, self.written, self.over = device, 0, threading.Event()
        self.start()

    def run(self):
        name = f"large-{self.device.name}"
        path = f"{PATH}/{name}?fieldManager=test&force=true"
        while not self.over.is_set():
            value = str(self.written) + "x" * (LARGE << 10)
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
            try:
                answer = self.device.api("PATCH", path, body, check=False, headers={"Content-Type": "application/apply-patch+yaml"})
                self.written += LARGE if answer["kind"] == "ConfigMap" else 0
            except OSError:
                pass
            time.sleep(0.4)

    def end(self):
        self.over.set()
        self.join(60)


class Stall:
    """What is seen of the cluster while the device's disk stands still."""

    def __init__(self, device, label):
        self.device = device
        self.others = [d for d in cluster.devices if d is not device]
        self.load = Load(cluster.devices, label, watched=self.others, kubectl=True).start()
        self.large = [Large(d) for d in self.others for _ in range(2)]
        self.terms = set()
        time.sleep(3)
        self.load.progress(through=cluster.devices)
        self.before = self.memory()
        self.most = dict(self.before)

    def memory(self):
        return {d.name: pss_kb(d.process.pid, "Pss_Anon") for d in cluster.devices}

    def written(self):
        return sum(each.written for each in self.large)

    def look(self):
        self.terms.add(cluster.status(self.others[0])["term"])
        for name, now in self.memory().items():
            self.most[name] = max(self.most[name], now)
        began = time.monotonic()
        expect_equal(self.device.api("GET", "/livez", raw=True), "ok", "livez")
        expect(time.monotonic() - began < 3, f"livez took {time.monotonic() - began:.1f} s")
        time.sleep(0.5)

    def watch(self, began):
        """For the whole of it, and until enough was written to tell bounded memory from growing one."""
        at_first = self.written()
        while time.monotonic() - began < SECONDS or self.written() - at_first < 2 * GROWS:
            expect(time.monotonic() - began < 4 * SECONDS, f"only {self.written() - at_first} KiB were written")
            self.look()
        self.load.progress(through=self.others)
        grown = {name: most - self.before[name] for name, most in self.most.items()}
        print(f"{self.written() - at_first} KiB of large writes, memory before {self.before} KiB, grown by {grown}, terms "
              f"{sorted(self.terms)}", flush=True)
        expect(max(grown.values()) < GROWS, f"memory grew by {grown} KiB")
        expect_equal(len(self.terms), 1, f"terms of the cluster: {self.terms}")

    def end(self):
        for each in self.large:
            each.end()
        eventually(lambda: cluster.status(cluster.leader())["health"]["ok"], 60, "all are well again")
        self.load.progress(through=cluster.devices)
        self.load.stop()
        self.load.check(cluster.devices)


@case
def of_a_follower():
    leader = cluster.leader()
    term = cluster.status(leader)["term"]
    stall = Stall(cluster.followers()[0], "follower")
    with disk_stalled(cluster, stall.device):
        began = time.monotonic()
        through_kubectl(stall.others)
        stall.watch(began)
    stall.end()
    expect(cluster.leader() is leader, "another one leads")
    expect_equal(cluster.status(leader)["term"], term, "term")


@case
def of_the_leader():
    device = cluster.leader()
    stall = Stall(device, "leader")
    with disk_stalled(cluster, device):
        began = time.monotonic()
        eventually(lambda: cluster.leader(stall.others) is not device, 20, "another one leads")
        stall.load.progress(through=stall.others)
        took = time.monotonic() - began
        print(f"a write through each of the others after {took:.1f} s", flush=True)
        expect(took < HANDS_OVER, f"no write for {took:.1f} s")
        through_kubectl(stall.others)
        stall.watch(began)
    stall.end()
    expect(cluster.leader() is not device, "it leads again")


run(cluster, at_once=1)

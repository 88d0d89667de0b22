#!/usr/bin/env python3
# timeout: 900
"""What the daemon needs of memory: pods that come and go leave nothing; within a control group of 32 MB it pulls and starts a
large image; where its own limit is hit, it dies at worst, and nothing is lost. PODS says how many come and go."""
import contextlib
import functools
import http.client
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, run
from inventory import added, inventory
from limpet import container_status, pod, pod_device, pss_kb
from memory_group import MemoryGroup
from writer import MAPS, Writer, check_all, rest, restarted
from zstd_image import ZstdImage

PODS = int(os.environ.get("PODS", "200"))
AT_ONCE = 10
WARM_UP = 20
GROWTH_KB = 2048
LIMIT_MB, TOO_LITTLE_MB, FLOODED_MB = 32, 2, 16
IMAGE_MB = 50
STEADY = ["steady-1", "steady-2"]

device = pod_device()


@contextlib.contextmanager
def limited(megabytes, with_pods):
    """The device in a memory control group of its own. `with_pods`: containers and shims are counted, too, which else have
    a group of their own. Not started yet."""
    device.stop()
    group = MemoryGroup(f"{device.cgroup_root}-{megabytes}", megabytes)
    own_root, device.launcher = device.cgroup_root, group.launcher
    if with_pods:
        device.cgroup_root = f"{group.name}/pods"
        device.configure()
    try:
        yield group
    finally:
        if device.process:
            device.kill()
        device.launcher = []
        device.start_daemon()
        for name in device.names("/api/v1/namespaces/default/pods"):
            device.api("DELETE", f"/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0")
            device.wait_gone(name)
        if with_pods:
            device.stop()
            device.kill_containers()
            device.cgroup_root = own_root
            device.configure()
            device.start_daemon()
        group.close()


# ---- pods that come and go ----

def come_and_go(count, prefix):
    for first in range(0, count, AT_ONCE):
        names = [f"{prefix}{n}" for n in range(first, min(first + AT_ONCE, count))]
        device.create(*[pod(name) for name in names])
        for name in names:
            device.wait_ready_pod(name, 120)
        for name in names:
            device.api("DELETE", f"/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0")
        for name in names:
            device.wait_gone(name, 60)
    eventually(lambda: not device.leaks(), 20, "nothing of the pods is left")


def nothing_added(before):
    found = added(before, inventory(device))
    expect(not found, "; ".join(found))
    return True


def anonymous_kb():
    """The least within some seconds: what is given back is given back when nothing has happened for a while."""
    readings = []
    for _ in range(12):
        readings.append(pss_kb(device.process.pid, "Pss_Anon"))
        time.sleep(0.5)
    return min(readings)


@case
def pods_come_and_go():
    come_and_go(WARM_UP, "warm")
    before, least = inventory(device), anonymous_kb()
    come_and_go(PODS, "brief")
    eventually(lambda: nothing_added(before), 30, "all is as it was")
    after = anonymous_kb()
    print(f"{PODS} pods: {least} kB of its own before, {after} kB after")
    expect(after <= least + GROWTH_KB, f"{after - least} kB more than before")


# ---- a limit ----

@functools.cache
def large_image():
    """Its name, once it is in the registry."""
    ZstdImage(IMAGE_MB).push(f"http://{device.registry.address}", "large", "1")
    return f"{device.registry.address}/large:1"


def pull_and_start(group, image):
    """Until the pod is ready or the kernel ended a process."""
    device.start_daemon(wait=False)
    eventually(lambda: group.kills() or device.process.poll() is not None or device.api("GET", "/readyz", raw=True) == "ok",
               60, "limpetd is ready, or was ended")
    if group.kills() or device.process.poll() is not None:
        return
    expect(group.holds(device.process.pid), "the daemon is not in the group: nothing would be measured")
    device.create(pod("large", container={"image": image}))
    eventually(lambda: group.kills() or device.wait_ready_pod("large", 1), 300, "the pod is ready, or a process was ended")


def said(group):
    return f"{group.peak() / (1 << 20):.1f} MB at most, the limit met {group.pressed()} times, {group.kills()} processes ended"


@case
def a_large_image_within_32_megabytes():
    image = large_image()
    with limited(LIMIT_MB, with_pods=True) as group:
        pull_and_start(group, image)
        print(f"{IMAGE_MB} MB of zstd in a group of {LIMIT_MB} MB: {said(group)}")
        expect_equal(group.kills(), 0, "processes that the kernel ended")
        expect_equal(container_status(device.pod("large"))["restartCount"], 0)
        expect(group.peak() > IMAGE_MB << 17, "hardly anything was counted: the pull was elsewhere")


@case
def the_same_in_too_little():
    """Else the one before could not fail."""
    image = large_image()
    with limited(TOO_LITTLE_MB, with_pods=True) as group:
        pull_and_start(group, image)
        print(f"in a group of {TOO_LITTLE_MB} MB: {said(group)}")
        expect(group.kills() > 0, "nothing was ended: the limit is none")


# ---- more than it can hold ----

WIDE = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"wide"},"data":{' + \
    ",".join(f'"k{n}":""' for n in range(200_000)) + "}}"


def flood(over):
    while not over.is_set():
        try:
            device.api("POST", MAPS, WIDE, check=False)
        except (Failure, OSError, ValueError, http.client.HTTPException):
            over.wait(0.05)


def steady_state():
    return {name: (s["containerID"], s["restartCount"]) for name in STEADY for s in [container_status(device.pod(name))]}


def ended_by_the_kernel(writers):
    """Floods it until it is ended, while the writers write."""
    begun = [writer.serial for writer in writers]
    eventually(lambda: all(w.serial >= b + 5 for w, b in zip(writers, begun)), 60, "every writer is at work")
    over = threading.Event()
    floods = [threading.Thread(target=flood, args=(over,)) for _ in range(4)]
    for thread in floods:
        thread.start()
    try:
        return device.process.wait(120)
    except subprocess.TimeoutExpired:
        return None
    finally:
        over.set()
        for thread in floods:
            thread.join()


@case
def its_own_limit_is_hit():
    device.create(*[pod(name) for name in STEADY])
    for name in STEADY:
        device.wait_ready_pod(name, 60)
    with limited(FLOODED_MB, with_pods=False) as group:
        device.start_daemon()
        before, pids = steady_state(), device.container_pids()
        writers = restarted([Writer(device, number) for number in range(3)])
        for round in range(3):
            status = ended_by_the_kernel(writers)
            expect_equal(status, -signal.SIGKILL, f"round {round}: how the daemon ended")
            expect(group.kills() > round, "it was not the kernel that ended it")
            device.process = None
            expect_equal(device.container_pids(), pids, "processes of containers while the daemon is gone")
            rest(writers)
            device.start_daemon()
            check_all(device, writers)
            expect_equal(steady_state(), before, f"containers after round {round}")
            writers = restarted(writers)
        rest(writers)
        print(f"flooded in a group of {FLOODED_MB} MB: {said(group)}, {sum(w.serial for w in writers)} writes asked for")
        device.create(pod("afterwards"))
        device.wait_ready_pod("afterwards", 60)


run(device, at_once=1)

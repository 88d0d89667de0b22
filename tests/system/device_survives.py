#!/usr/bin/env python3
# timeout: 240
"""The daemon is killed or restarted with pods running: nothing restarts, nothing is lost, everything works on."""
import json
import os
import random
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import container_status, pod, pod_device

device = pod_device()
kubectl = device.kubectl
NAMES = ["keeps", "ticks", "init", "restarted", "probed"]
device.create(
    pod("keeps", "echo first words; exec sleep 100000"),
    pod("ticks", "i=0; while true; do echo tick $((i=i+1)); sleep 0.1; done"),
    pod("init", initContainers=[{"name": "before", "image": "127.0.0.1:5000/busybox:1", "command": ["true"]}]),
    pod("restarted", "[ -e /data/x ] && exec sleep 100000; touch /data/x; exit 9", container={"volumeMounts": [{"name": "v", "mountPath": "/data"}]},
        volumes=[{"name": "v", "emptyDir": {}}]),
    pod("probed", container={"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}),
    pod("ends", "while [ ! -e /host/end ]; do sleep 0.1; done; exit 7", restartPolicy="Never",
        container={"volumeMounts": [{"name": "h", "mountPath": "/host"}]},
        volumes=[{"name": "h", "hostPath": {"path": device.home + "/flag", "type": "DirectoryOrCreate"}}]))
for name in NAMES:
    device.wait_ready_pod(name, 60)
device.wait_status("ends", "Running")


def identity():
    """What must not change: container ids, restart counts, addresses."""
    return {name: [(s["containerID"], s["restartCount"], s["state"]["running"]["startedAt"], found["status"]["podIP"])
                   for s in found["status"]["containerStatuses"]] for name in NAMES for found in [device.pod(name)]}


def first_pids():
    """The first process of each container: not its short-lived children, nor probes."""
    found = set()
    for pid in device.container_pids():
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                spaces = next(line for line in file if line.startswith("NSpid:")).split()
        except OSError:
            continue
        if spaces[-1] == "1":
            found.add(pid)
    return found


@case
def killed_and_started_again():
    for stop in (device.kill, device.stop, device.kill):
        before, firsts = identity(), first_pids()
        stop()
        expect(firsts <= set(device.container_pids()), "containers go on without the daemon")
        device.start_daemon()
        for name in NAMES:
            device.wait_ready_pod(name)
        expect_equal(identity(), before)
        expect(firsts <= set(device.container_pids()), "a process is gone")
    expect_equal(container_status(device.pod("restarted"))["restartCount"], 1)
    expect_equal(container_status(device.pod("restarted"))["lastState"]["terminated"]["exitCode"], 9)
    device.wait_logs("keeps", "first words\n")
    numbers = [int(line.split()[1]) for line in kubectl("logs ticks").splitlines()]
    expect_equal(numbers, list(range(1, len(numbers) + 1)), "a gap in the log")
    expect_equal(kubectl("exec keeps -- echo still").strip(), "still")


@case
def ends_while_nobody_looks():
    device.kill()
    open(device.home + "/flag/end", "w", encoding="utf-8").close()
    time.sleep(1)
    device.start_daemon()
    found = device.wait_status("ends", "Error")
    ended = container_status(found)["state"]["terminated"]
    expect_equal((ended["exitCode"], ended["reason"]), (7, "Error"))


@case
def deleted_and_killed():
    """A deletion that was under way goes on."""
    device.create(pod("leaving", 'trap "" TERM; while true; do sleep 0.1; done', terminationGracePeriodSeconds=3))
    device.wait_ready_pod("leaving")
    device.api("DELETE", "/api/v1/namespaces/default/pods/leaving")
    device.kill()
    device.start_daemon()
    device.wait_gone("leaving")


@case
def killed_while_pods_start():
    for round_number in range(3):
        names = [f"young-{round_number}-{n}" for n in range(4)]
        device.create(*[pod(name) for name in names])
        time.sleep(random.uniform(0, 1))
        device.kill()
        device.start_daemon()
        for name in names:
            device.wait_ready_pod(name, 60)
            device.api("DELETE", f"/api/v1/namespaces/default/pods/{name}")
    eventually(lambda: not [n for n in device.names("/api/v1/pods") if n.startswith("young")], 30, "they are gone")


def no_error_was_logged():
    with open(device.log_file, encoding="utf-8", errors="replace") as file:
        worst = [line for line in file if line.startswith(("<0>", "<1>", "<2>", "<3>"))]
    expect(not worst, "errors in the log: " + json.dumps(worst[:5]))


run(device, at_once=1, last=[no_error_was_logged])

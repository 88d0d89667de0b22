#!/usr/bin/env python3
# timeout: 14400
"""kill -9 of the daemon at random moments while objects are written and pods come and go: no acknowledged write is lost,
no container is restarted, none is orphaned. Every third death is at a failpoint of the code, in turn, wherever the work
comes past it. KILLS in the environment says how often, SEED repeats a run."""
import os
import random
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, run
from failpoints import died, in_source, start_armed
from limpet import container_status, pod, pod_device
from writer import Writer, check_all, rest, restarted

KILLS = int(os.environ.get("KILLS", "50"))
SEED = int(os.environ.get("SEED", str(int(time.time()))))
STEADY = ["steady-1", "steady-2", "steady-3"]
POINTS = in_source()
print("SEED", SEED, "KILLS", KILLS)
chance = random.Random(SEED)
chance.shuffle(POINTS)
device = pod_device()
device.create(*[pod(name, "i=0; while true; do echo $((i=i+1)); sleep 0.2; done") for name in STEADY])
for steady in STEADY:
    device.wait_ready_pod(steady, 60)


def steady_state():
    return {name: (s["containerID"], s["restartCount"]) for name in STEADY for s in [container_status(device.pod(name))]}


def come_and_go(kill):
    """Pods that are being made and deleted when the daemon dies."""
    for name in [n for n in device.names("/api/v1/namespaces/default/pods") if n.startswith("brief-")]:
        device.api("DELETE", f"/api/v1/namespaces/default/pods/{name}", check=False)
    for number in range(2):
        device.create(pod(f"brief-{kill}-{number}"))


def die_at(point):
    """The daemon again, so that it kills itself at this place. True when it did."""
    device.kill()
    try:
        start_armed(device, point, "kill", chance.choice([1, 1, 2, 5]), wait=True)
        come_and_go(f"at-{point.replace('.', '-').replace('_', '-')}")
    except (Failure, OSError):
        pass  # it died early
    return died(device, 2)  # if work comes past that place


@case
def holds_on():
    before = steady_state()
    writers = restarted([Writer(device, number) for number in range(3)])
    reached = []
    for kill in range(KILLS):
        if kill % 3 == 2 and kill < KILLS - 1:
            point = POINTS[kill // 3 % len(POINTS)]
            reached += [point] if die_at(point) else []
        else:
            come_and_go(kill)
            if kill % 3 == 1:  # at a random moment of full work, whenever that is reached; else at a random moment at all
                begun = [writer.serial for writer in writers]
                eventually(lambda: all(w.serial >= b + 5 for w, b in zip(writers, begun)), 60, "every writer is at work")
            time.sleep(chance.uniform(0, 0.8))
        device.kill()
        rest(writers)
        device.start_daemon()
        check_all(device, writers)
        expect_equal(steady_state(), before, f"after kill {kill}")
        writers = restarted(writers)
    rest(writers)
    total = sum(writer.serial for writer in writers)
    print(f"{KILLS} kills, {total} writes asked for; died at {', '.join(sorted(set(reached)))}")
    expect(len(reached) > KILLS // 15, f"only at {reached} did it die by itself")
    expect(total > KILLS * 5, "too few writes for the test to say anything")
    for name in STEADY:
        device.wait_ready_pod(name)
        lines = device.kubectl(f"logs {name}").split()
        expect_equal([int(x) for x in lines], list(range(int(lines[0]), int(lines[0]) + len(lines))), f"log of {name}")
    for number in range(2):
        device.wait_ready_pod(f"brief-{KILLS - 1}-{number}", 60)


@case
def the_logs_of_a_pod_go_with_it():
    """Also where the daemon dies between the end of the object and theirs."""
    device.create(pod("late"))
    device.wait_ready_pod("late")
    expect_equal(len(logs_of("late")), 1, "directories of its logs")
    pods = lambda: device.api("GET", "/api/v1/namespaces/default/pods")["items"]
    # Those of pods that are on their way out would be first.
    eventually(lambda: not any("deletionTimestamp" in p["metadata"] for p in pods()) and len(logs_of()) == len(pods()), 30,
               "logs of the others are gone")
    device.kill()
    start_armed(device, "node.logs.remove", "kill", 1, wait=True)
    device.api("DELETE", "/api/v1/namespaces/default/pods/late")
    expect(died(device, 30), "it dies when they are to be removed")
    expect_equal(len(logs_of("late")), 1, "directories of its logs")
    device.start_daemon()
    expect("late" not in device.names("/api/v1/namespaces/default/pods"), "the object is gone")
    eventually(lambda: not logs_of("late"), 30, "its logs are gone")


def logs_of(name=""):
    return [d for d in os.listdir(device.logs_dir) if d.startswith(f"default_{name}_" if name else "default_")]


@case
def none_orphaned():
    """Each container that runs belongs to a pod that the API has."""
    uids = {p["metadata"]["uid"] for p in device.api("GET", "/api/v1/pods")["items"]}

    def foreign():
        marks = {d.split("/pod", 1)[1].split("/")[0] for d in device.cgroup_directories(below=True) if "/pod" in d}
        return marks - {u for u in uids}

    eventually(lambda: not foreign(), 30, "cgroups of pods that are gone")


run(device, at_once=1)

#!/usr/bin/env python3
# timeout: 240
"""The runtime's program is missing, hangs, dies or prints nonsense, at the start and while pods run: the API serves, the
Node says why it is not ready, what runs goes on, and once the program works all goes on without a restart of the daemon."""
import os
import shutil
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import SCRATCH, Device, container_status, pod

REAL = shutil.which("runc") or shutil.which("crun")
if not REAL or not shutil.which("kubectl"):
    skip("no crun or runc, or no kubectl")
PROGRAM = os.path.join(SCRATCH, "the-runtime")


def runtime(script):
    """Replaced whole, as a package manager does it; None: gone."""
    if script is None:
        return os.unlink(PROGRAM)
    with open(PROGRAM + ".new", "w", encoding="ascii") as file:
        file.write("#!/bin/sh\n" + script + "\n")
    os.chmod(PROGRAM + ".new", 0o755)
    return os.rename(PROGRAM + ".new", PROGRAM)


WORKS = f'exec {REAL} "$@"'
BROKEN = {"hangs": "exec sleep 1000", "dies": "exit 137", "garbage": "head -c 100000 /dev/zero", "silent": "exit 0"}
SAYS = {"dies": "exit code 137", "silent": "left no process behind", "missing": "the-runtime create cannot be run"}
device = Device(runtime={"path": PROGRAM})
if not device.runs_pods:
    skip("limpet-shim or limpet-unpack is not built")


def node_ready():
    node = device.api("GET", "/api/v1/nodes/device")
    return next((c["status"], c["message"]) for c in node["status"]["conditions"] if c["type"] == "Ready")


@case
def broken_at_the_first_start():
    for name, script in BROKEN.items():
        runtime(script)
        device.start()
        said = eventually(lambda: (r := node_ready())[0] == "False" and r, 20, f"{name}: the node is not ready")
        expect_match("the container runtime cannot be used: no usable runtime", said[1])
        device.kubectl("get nodes")
        expect_equal(device.stop(), 0, "stop")
    runtime(None)
    device.start()
    eventually(lambda: node_ready()[0] == "False", 20, "missing: the node is not ready")
    runtime(WORKS)
    eventually(lambda: node_ready()[0] == "True", 40, "the node is ready once the program is there", 0.2)
    device.create(pod("first"))
    device.wait_ready_pod("first", 60)


@case
def broken_while_pods_run():
    before = container_status(device.pod("first"))["containerID"]
    for name, script in {**BROKEN, "missing": None}.items():
        if name == "garbage":
            continue
        if name == "dies":  # a probe that cannot be run is no reason to end what is healthy
            probe = {"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1}
            device.create(pod("probed", container={"livenessProbe": probe}))
            device.wait_ready_pod("probed", 60)
        runtime(script)
        device.create(pod("new-" + name))
        eventually(lambda n=name: device.pod("new-" + n)["spec"].get("nodeName"), 10, "scheduled")
        if name != "hangs":  # that takes its time to be said: 30 s for each thing that is tried
            found = eventually(lambda n=name: [e for e in device.events("new-" + n) if e.startswith("Warning Failed")], 30,
                               f"{name}: the event", 0.3)
            expect_match(SAYS[name], "\n".join(found), name)
            eventually(lambda: any("Liveness probe errored" in e for e in device.events("probed")), 20, f"{name}: the probe's event")
        expect_equal(device.api("GET", "/readyz", raw=True), "ok", name)
        expect_equal(container_status(device.pod("first"))["containerID"], before, name)
        # The daemon dies meanwhile.
        device.kill()
        device.start_daemon()
        eventually(lambda: node_ready()[0] == "False", 10, f"{name}: the node is not ready")
        runtime(WORKS)
        eventually(lambda: node_ready()[0] == "True", 40, f"{name}: the node is ready again", 0.2)
        device.wait_ready_pod("new-" + name, 60)
        expect_equal(container_status(device.wait_ready_pod("first"))["containerID"], before, name)
        expect_equal(container_status(device.pod("first"))["restartCount"], 0, name)
    expect_equal(container_status(device.wait_ready_pod("probed"))["restartCount"], 0, "the pod with a probe")


run(device, at_once=1)

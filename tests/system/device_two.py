#!/usr/bin/env python3
# timeout: 180
"""Two devices on one machine, in namespaces of their own, do not notice each other."""
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect_equal, run
from limpet import container_status, pod, pod_device

one = pod_device(name="one", apart=True)
two = pod_device(name="two", apart=True)


@case
def side_by_side():
    for device in (one, two):
        device.create(pod("same", f"echo on {device.name}; exec sleep 100000"))
    for device in (one, two):
        device.wait_ready_pod("same")
        device.wait_logs("same", f"on {device.name}\n")
        expect_equal(device.names("/api/v1/nodes"), [device.name])
    before = container_status(two.pod("same"))["containerID"]
    one.kill()
    one.kill_containers()
    expect_equal(container_status(two.pod("same"))["containerID"], before)
    expect_equal(two.kubectl("exec same -- echo still").strip(), "still")
    one.start_daemon()
    eventually(lambda: container_status(one.pod("same"))["restartCount"] == 1, 30, "the first one's pod comes back")
    one.wait_ready_pod("same")
    expect_equal(container_status(two.pod("same"))["restartCount"], 0)
    leaks = one.close()
    if leaks:
        raise Failure("\n".join(leaks))


run(two, at_once=1)

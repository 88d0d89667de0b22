#!/usr/bin/env python3
# timeout: 240
"""The file system of runDir, in memory and small, fills up: what runs goes on, a pod that finds no room says so, the daemon
starts in it, and with room again all goes on."""
import os
import subprocess
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, expect_match, run, skip
import limpet
from limpet import Device, config_map, container_status, pod, pod_device


class Small(Device):
    def start_daemon(self, wait=True, environment=None):
        if not os.path.ismount(self.run_dir):
            os.makedirs(self.run_dir)
            if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "limpet-test", self.run_dir], check=False).returncode:
                skip("no tmpfs can be mounted here")
        return super().start_daemon(wait, environment)

    def fill(self):
        for number in range(200):
            try:
                with open(f"{self.run_dir}/filler-{number}", "wb", buffering=0) as file:
                    while file.write(b"x" * (65536 if number == 0 else 4096)) >= 4096:
                        pass
            except OSError:
                if number > 2:
                    return
        raise Failure("runDir does not fill")

    def make_room(self):
        for name in os.listdir(self.run_dir):
            if name.startswith("filler-"):
                os.unlink(os.path.join(self.run_dir, name))


limpet.Device = Small
device = pod_device()
# A probe that finds no room is no reason to end what is healthy.
device.create(pod("keeps", container={"livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1}}))
device.wait_ready_pod("keeps", 60)


@case
def no_room():
    container = container_status(device.pod("keeps"))["containerID"]
    device.fill()
    device.create(config_map("c", key="x" * 50000))
    device.create(pod("late", volumes=[{"name": "v", "configMap": {"name": "c"}}], container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
    found = eventually(lambda: [e for e in device.events("late") if e.startswith("Warning")], 60, "an event that says why")
    expect_match("No space left on device", "\n".join(found))
    expect_match("No space left on device", device.refused("exec keeps -- echo hello"))
    for stop in device.stop, device.kill:
        stop()
        device.fill()
        device.start_daemon()
        expect_equal(container_status(device.wait_ready_pod("keeps"))["containerID"], container, "the container")
        expect_equal(container_status(device.pod("keeps"))["restartCount"], 0, "restarts")
    device.make_room()
    device.wait_ready_pod("late", 120)
    expect_equal(container_status(device.pod("keeps"))["containerID"], container, "the container")


run(device, at_once=1)

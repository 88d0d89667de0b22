#!/usr/bin/env python3
# timeout: 180
"""A reboot with no network: every process gone, runtime files gone, no registry; every pod comes back by itself."""
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, expect_equal, expect_match, run
from limpet import config_map, container_status, pod, pod_device, secret
from reboot import mount_run, reboot

RUN = os.path.join(os.environ["TEST_TMP"], "device", "run")
mount_run(RUN)
device = pod_device()
kubectl = device.kubectl
NAMES = ["plain", "configured", "counted", "hosted"]
device.create(
    config_map("settings", color="blue"), secret("keys", password="hold"),
    pod("plain", "echo up; exec sleep 100000"),
    pod("configured", "cat /s/password; echo $COLOR; exec sleep 100000", volumes=[{"name": "s", "secret": {"secretName": "keys"}}],
        container={"env": [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}}],
                   "volumeMounts": [{"name": "s", "mountPath": "/s"}]}),
    pod("counted", "echo x >> /data/boots; wc -l < /data/boots; exec sleep 100000", volumes=[{"name": "d", "emptyDir": {}}],
        container={"volumeMounts": [{"name": "d", "mountPath": "/data"}]}),
    pod("hosted", hostNetwork=True),
    pod("finished", "exit 0", restartPolicy="Never"))
for name in NAMES:
    device.wait_ready_pod(name, 60)
device.wait_status("finished", "Completed")


@case
def comes_back():
    before = {name: container_status(device.pod(name)) for name in NAMES}
    for boot in (2, 3):
        reboot(device, RUN)
        device.start_daemon()
        for name in NAMES:
            device.wait_pod(name, lambda p: container_status(p)["containerID"] != before[name]["containerID"]
                            and container_status(p)["ready"], 30, f"{name} runs anew")
            expect_equal(container_status(device.pod(name))["restartCount"], boot - 1, name)
            before[name] = container_status(device.pod(name))
        expect_equal(device.row("finished")["Status"], "Completed")
        expect_equal(container_status(device.pod("finished"))["restartCount"], 0)
        device.wait_logs("configured", "holdblue\n")
        device.wait_logs("counted", f"{boot}\n")  # an emptyDir on disk outlives a reboot
        expect_match("^up$", kubectl("exec plain -- echo up"))


run(device, at_once=1)

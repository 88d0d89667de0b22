#!/usr/bin/env python3
# timeout: 240
"""A directory of a volume becomes a link to the device's own files and back, as fast as it can, while pods mount it as
subPath: none ever sees what the link leads to (CVE-2017-1002101, CVE-2021-25741)."""
import ctypes
import os
import sys
import threading

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, run
from limpet import pod, pod_device

device = pod_device()
PLACE = os.path.join(device.home, "volume")
OUTSIDE = os.path.join(device.home, "outside")
PODS = 24
for path in PLACE + "/sub/deep", OUTSIDE + "/deep":
    os.makedirs(path)
for path, text in (PLACE + "/sub", "inside"), (PLACE + "/sub/deep", "inside"), (OUTSIDE, "outside"), (OUTSIDE + "/deep", "outside"):
    with open(path + "/name", "w", encoding="ascii") as file:
        file.write(text)
os.symlink(OUTSIDE, PLACE + "/other")
renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
RENAME_EXCHANGE = 2


@case
def swapped_while_mounting():
    over, swaps = threading.Event(), [0]

    def swap():
        one, two = (PLACE + "/sub").encode(), (PLACE + "/other").encode()
        while not over.wait(0.0002):
            if renameat2(-100, one, -100, two, RENAME_EXCHANGE) == 0:
                swaps[0] += 1

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for number in range(PODS):
            where = "sub" if number % 2 else "sub/deep"
            device.create(pod(f"race-{number}", "cat /x/name; echo; echo y > /x/written-by-pod; exec sleep 100000", restartPolicy="Never",
                              container={"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": where}]},
                              volumes=[{"name": "v", "hostPath": {"path": PLACE}}]))

        def settled(number):
            status = device.pod(f"race-{number}")["status"].get("containerStatuses", [{}])[0]
            state = status.get("state", {})
            return "running" in state or "terminated" in state or "message" in state.get("waiting", {})

        for number in range(PODS):
            eventually(lambda n=number: settled(n), 60, f"race-{number}")
    finally:
        over.set()
        swapper.join()
    seen = []
    for number in range(PODS):
        code, out, _ = device.run(["kubectl", "logs", f"race-{number}"])
        if code == 0 and out:
            seen.append(out.split()[0])
    print(f"{swaps[0]} swaps, {len(seen)} of {PODS} pods ran")
    expect("outside" not in seen, f"a pod saw what the link leads to: {seen}")
    expect(not any(os.path.exists(f"{d}/written-by-pod") for d in (OUTSIDE, OUTSIDE + "/deep")), "a pod wrote to where the link leads")
    expect(seen and swaps[0] > 500, "too little happened for the test to say anything")


run(device, at_once=1)

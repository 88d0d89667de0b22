#!/usr/bin/env python3
# timeout: 200
"""kubectl logs in all its forms; rotation under a budget; the files where log shippers look."""
import glob
import os
import re
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import container_status, pod, pod_device

device = pod_device(logs={"containerMaxSize": "64Ki", "containerMaxFiles": 3})
kubectl, refused = device.kubectl, device.refused

device.create(
    pod("counts", "for i in 1 2 3 4 5; do echo line $i; done; echo to stderr >&2; exec sleep 100000"),
    pod("ticks", "i=0; while true; do echo tick $((i=i+1)); sleep 0.2; done"),
    pod("dies", "echo life $(cat /data/n 2>/dev/null || echo 0); echo 1 > /data/n; exit 1", container={"volumeMounts": [{"name": "v", "mountPath": "/data"}]},
        volumes=[{"name": "v", "emptyDir": {}}]),
    pod("floods", "i=0; while [ $i -lt 6000 ]; do echo line $((i=i+1)) of a flood that fills file after file; done; sleep 100000"),
    pod("long", "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end; exec sleep 100000"))
LINES = "".join(f"line {n}\n" for n in range(1, 6))


@case
def whole_and_tail():
    device.wait_ready_pod("counts")
    text = eventually(lambda: "stderr" in (t := kubectl("logs counts")) and t, 10, every=0.3)
    expect_equal(text, LINES + "to stderr\n")
    expect_equal(kubectl("logs counts --tail=2"), "line 5\nto stderr\n")
    expect_equal(kubectl("logs counts --tail=0"), "")
    expect_equal(kubectl("logs counts --limit-bytes=6"), "line 1")
    expect_match(r"^\[?pod/counts/main\]? line 1", kubectl("logs -l app=counts --prefix"))


@case
def timestamps():
    device.wait_ready_pod("counts")
    for line in kubectl("logs counts --timestamps").splitlines():
        expect_match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (line \d|to stderr)$", line)


@case
def since():
    device.wait_ready_pod("ticks")
    time.sleep(3)
    recent = kubectl("logs ticks --since=1s").splitlines()
    expect(0 < len(recent) <= 15, f"{len(recent)} lines since 1 s")
    stamp = kubectl("logs ticks --timestamps").splitlines()[9].split()[0]  # clients send whole seconds
    first = int(kubectl(f"logs ticks --since-time={stamp}").split()[1])
    expect(2 < first <= 10, f"the first line since the tenth is {first}")


@case
def follow():
    device.wait_ready_pod("ticks")
    follower = device.popen("kubectl logs -f ticks --tail=1")
    try:
        first = int(follower.stdout.readline().split()[1])
        for number in range(first + 1, first + 6):
            expect_equal(follower.stdout.readline(), f"tick {number}\n")
    finally:
        follower.kill()
        follower.wait()


@case
def follow_to_the_end():
    device.create(pod("short", "for i in 1 2 3; do echo $i; sleep 0.5; done", restartPolicy="Never"))
    device.wait_pod("short", lambda p: p["status"]["phase"] != "Pending")
    expect_equal(kubectl("logs -f short", timeout=20), "1\n2\n3\n")


@case
def previous():
    device.wait_pod("dies", lambda p: container_status(p)["restartCount"] >= 1, 30)
    expect_equal(kubectl("logs dies --previous"), "life 0\n" if container_status(device.pod("dies"))["restartCount"] == 1 else "life 1\n")
    device.wait_ready_pod("counts")
    expect_match('previous terminated container "main" in pod "counts" not found', refused("logs counts --previous"))


@case
def choice_of_container():
    two = pod("two", "echo from main; exec sleep 100000")
    two["spec"]["containers"].append({**two["spec"]["containers"][0], "name": "other", "command": ["sh", "-c", "echo from other; exec sleep 100000"]})
    device.create(two)
    device.wait_ready_pod("two")
    expect_equal(kubectl("logs two -c other"), "from other\n")
    # Two requests at once: either may be told first.
    expect_equal(sorted(kubectl("logs two --all-containers").split("\n")), ["", "from main", "from other"])
    expect_match("container absent is not valid for pod two", refused("logs two -c absent"))
    expect_match("NotFound|not found", refused("logs absent"))


@case
def not_started_yet():
    device.create(pod("yet", container={"image": "127.0.0.1:5000/absent:1"}))
    device.wait_pod("yet", lambda p: container_status(p)["state"].get("waiting"), 20)
    expect_match('container "main" in pod "yet" is waiting to start: ', refused("logs yet"))


@case
def long_lines():
    device.wait_ready_pod("long")
    eventually(lambda: kubectl("logs long").endswith("end\n"), 10, every=0.3)
    expect_equal(kubectl("logs long"), "x" * 40000 + "\nend\n")


@case
def rotation():
    """Files stay within their size and number, what is kept is without a gap, and is read across files."""
    device.wait_ready_pod("floods")
    directory = glob.glob(f"{device.logs_dir}/default_floods_*/main")[0]
    eventually(lambda: "line 6000 " in kubectl("logs floods --tail=1"), 30, every=0.5)
    names = sorted(os.listdir(directory))
    expect(2 <= len(names) <= 3, str(names))
    for name in names:
        expect(os.path.getsize(os.path.join(directory, name)) <= 65 << 10, f"{name} is too large")
    numbers = [int(n) for n in re.findall(r"^line (\d+) of", kubectl("logs floods"), re.MULTILINE)]
    expect(numbers and numbers == list(range(numbers[0], 6001)), f"a gap: {len(numbers)} lines from {numbers[:1]}")


@case
def files_of_log_shippers():
    device.wait_ready_pod("counts")
    uid = device.pod("counts")["metadata"]["uid"]
    with open(f"{device.logs_dir}/default_counts_{uid}/main/0.log", encoding="utf-8") as file:
        expect_match(r"^\d{4}-\d\d-\d\dT\S+Z stdout F line 1$", file.readline())


run(device)

#!/usr/bin/env python3
# timeout: 200
"""kubectl logs in all its forms; rotation under a budget; the files where log shippers look."""
import calendar
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
    device.wait_logs("counts", LINES + "to stderr\n")
    expect_equal(kubectl("logs counts --tail=2"), "line 5\nto stderr\n")
    expect_equal(kubectl("logs counts --tail=0"), "")
    expect_equal(kubectl("logs counts --limit-bytes=6"), "line 1")
    expect_match(r"^\[?pod/counts/main\]? line 1", kubectl("logs -l app=counts --prefix"))


@case
def timestamps():
    device.wait_ready_pod("counts")
    device.wait_logs("counts", LINES + "to stderr\n")
    for line in kubectl("logs counts --timestamps").splitlines():
        expect_match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (line \d|to stderr)$", line)


@case
def since():
    """Judged by the stamps of the lines, whenever kubectl comes to ask."""
    device.wait_ready_pod("ticks")
    stamped = lambda options: [(float(stamp[17:-1]) + calendar.timegm(time.strptime(stamp[:16], "%Y-%m-%dT%H:%M")), stamp, int(number))
                               for stamp, _, number in (line.split() for line in kubectl("logs ticks --timestamps " + options).splitlines())]
    everything = eventually(lambda: (found := stamped("")) and found[-1][0] > found[0][0] + 5 and found, 60, "six seconds of log", every=0.5)

    early = time.time() - 3
    recent = eventually(lambda: stamped("--since=3s"), 60, "lines since 3 s")
    expect(all(at >= early for at, _, _ in recent), f"a line is older than 3 s: {recent[:1]}, asked at {early + 3}")
    late, whole = time.time() - 3, stamped("")
    wanted = [number for at, _, number in whole if at >= late and number <= recent[-1][2]]
    expect(set(wanted) <= {number for _, _, number in recent}, f"lines since 3 s are missing: {recent[:1]}, {wanted[:1]}")

    at, stamp, _ = everything[9]
    whole_second = int(at)  # clients send no fractions
    since = stamped(f"--since-time={stamp}")
    expect_equal(since[0][2], next(number for when, _, number in everything if when >= whole_second), "the first line since the tenth")


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
    expect_equal(kubectl("logs -f short"), "1\n2\n3\n")


@case
def previous():
    device.wait_pod("dies", lambda p: container_status(p)["restartCount"] >= 1, 60)

    def undisturbed():
        """The text and the count of restarts that it belongs to: none came in between."""
        before = container_status(device.pod("dies"))["restartCount"]
        text = kubectl("logs dies --previous")
        return (text, before) if container_status(device.pod("dies"))["restartCount"] == before else None

    text, restarts = eventually(undisturbed, 60, "a moment without a restart")
    expect_equal(text, "life 0\n" if restarts == 1 else "life 1\n")
    device.wait_ready_pod("counts")
    expect_match('previous terminated container "main" in pod "counts" not found', refused("logs counts --previous"))


@case
def choice_of_container():
    two = pod("two", "echo from main; exec sleep 100000")
    two["spec"]["containers"].append({**two["spec"]["containers"][0], "name": "other", "command": ["sh", "-c", "echo from other; exec sleep 100000"]})
    device.create(two)
    device.wait_ready_pod("two")
    device.wait_logs("two -c other", "from other\n")
    device.wait_logs("two -c main", "from main\n")
    # Two requests at once: either may be told first.
    expect_equal(sorted(kubectl("logs two --all-containers").split("\n")), ["", "from main", "from other"])
    expect_match("container absent is not valid for pod two", refused("logs two -c absent"))
    expect_match("NotFound|not found", refused("logs absent"))


@case
def not_started_yet():
    device.create(pod("yet", container={"image": "127.0.0.1:5000/absent:1"}))
    device.wait_pod("yet", lambda p: container_status(p)["state"].get("waiting"), 60)
    expect_match('container "main" in pod "yet" is waiting to start: ', refused("logs yet"))


@case
def long_lines():
    device.wait_ready_pod("long")
    device.wait_logs("long", "x" * 40000 + "\nend\n")


@case
def rotation():
    """Files stay within their size and number, what is kept is without a gap, and is read across files."""
    device.wait_ready_pod("floods")
    directory = glob.glob(f"{device.logs_dir}/default_floods_*/main")[0]
    eventually(lambda: "line 6000 " in kubectl("logs floods --tail=1"), 120, every=0.5)
    names = sorted(os.listdir(directory))
    expect(2 <= len(names) <= 3, str(names))
    for name in names:
        expect(os.path.getsize(os.path.join(directory, name)) <= 65 << 10, f"{name} is too large")
    numbers = [int(n) for n in re.findall(r"^line (\d+) of", kubectl("logs floods"), re.MULTILINE)]
    expect(numbers and numbers == list(range(numbers[0], 6001)), f"a gap: {len(numbers)} lines from {numbers[:1]}")


@case
def files_of_log_shippers():
    device.wait_ready_pod("counts")
    device.wait_logs("counts", LINES + "to stderr\n")
    uid = device.pod("counts")["metadata"]["uid"]
    with open(f"{device.logs_dir}/default_counts_{uid}/main/0.log", encoding="utf-8") as file:
        expect_match(r"^\d{4}-\d\d-\d\dT\S+Z stdout F line 1$", file.readline())


run(device)

#!/usr/bin/env python3
"""The rows of the benchmark; called by tests/bench/run.sh in namespaces of its own.

A row is a function that returns its value, or (value, peer's value); what it needs it starts itself.
"""
import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/packaging")
import busybox_image
from case import Failure, eventually
from limpet import BUILD, PROGRAMS, SCRATCH, Device, pod

rows = []


def row(unit, budget, peer=None, decimals=1):
    def add(function):
        rows.append((function.__name__, unit, budget, peer, decimals, function))
        return function
    return add


def pss_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def settled(measure, seconds=5):
    """The lower of two readings some seconds apart: what start-up needed for a moment does not count as idle."""
    time.sleep(seconds / 2)
    first = measure()
    time.sleep(seconds / 2)
    return min(first, measure())


class Running:
    """A device for one row."""

    def __init__(self, name, registry=False):
        self.device = Device(name, registry=registry, logs={"level": "info"})

    def __enter__(self):
        return self.device.start()

    def __exit__(self, *_):
        leaks = self.device.close()
        if leaks:
            print("left behind: " + "; ".join(leaks), file=sys.stderr)


@row("MB", 10)
def idle_memory_mb():
    with Running("idle") as device:
        return settled(lambda: pss_kb(device.process.pid)) / 1024


@row("ms", 50, decimals=0)
def ready_ms():
    """Of a device that has its keys and no pods; the median of nine starts."""
    times = []
    with Running("ready") as device:
        for _ in range(9):
            device.stop()
            start = time.monotonic()
            device.start_daemon(wait=False)
            while True:
                try:
                    if device.api("GET", "/readyz", raw=True) == "ok":
                        break
                except (OSError, Failure):
                    time.sleep(0.0005)
            times.append((time.monotonic() - start) * 1000)
    return statistics.median(times)


def wait_for_file(path):
    while not os.path.exists(path):
        time.sleep(0.0005)


class Bare:
    """`runc run` (or crun) of the same image, unpacked before."""

    def __init__(self, runtime, reports):
        self.runtime, self.reports = runtime, reports
        self.bundle = os.path.join(SCRATCH, "bare")
        root = os.path.join(self.bundle, "rootfs")
        os.makedirs(root)
        image = busybox_image.make_layer(busybox_image.find_busybox())
        subprocess.run(["tar", "-xf", "-", "-C", root], input=image, check=True)
        subprocess.run([runtime, "spec"], cwd=self.bundle, check=True)
        with open(os.path.join(self.bundle, "config.json"), encoding="utf-8") as file:
            self.spec = json.load(file)

    def run(self, number):
        report = os.path.join(self.reports, f"bare-{number}")
        spec = json.loads(json.dumps(self.spec))
        spec["process"].update(terminal=False, args=["sh", "-c", f"echo > /reports/bare-{number}"])
        spec["linux"]["cgroupsPath"] = f"/limpet-bench-{os.getpid()}/bare-{number}"
        spec["mounts"].append({"destination": "/reports", "type": "bind", "source": self.reports, "options": ["bind", "rw"]})
        with open(os.path.join(self.bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(spec, file)
        start = time.monotonic()
        process = subprocess.Popen([self.runtime, "run", "--bundle", self.bundle, f"bare-{number}"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_file(report)
        took = time.monotonic() - start
        process.wait()
        return took

    def close(self):
        for directory in glob.glob(f"/sys/fs/cgroup/**/limpet-bench-{os.getpid()}", recursive=True):
            for path, _, _ in os.walk(directory, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass


def runtime_of(device):
    """The same program on both sides."""
    node = eventually(lambda: device.api("GET", f"/api/v1/nodes/{device.name}"), 20, "the node is registered")
    info = node["status"]["nodeInfo"]["containerRuntimeVersion"]
    return "crun" if "crun" in info else "runc"


@row("x", 2.5, "bare crun or runc run", 2)
def apply_to_running_ratio():
    """Medians of fifteen, taken in turns."""
    reports = os.path.join(SCRATCH, "reports")
    os.makedirs(reports)
    ours, theirs = [], []
    with Running("apply", registry=True) as device:
        bare = Bare(runtime_of(device), reports)
        volumes = [{"name": "r", "hostPath": {"path": reports}}]
        mounts = {"volumeMounts": [{"name": "r", "mountPath": "/reports"}]}
        for number in range(16):
            body = pod(f"a{number}", f"echo > /reports/ours-{number}; exec sleep 100000", container=mounts, volumes=volumes)
            start = time.monotonic()
            device.create(body)
            wait_for_file(f"{reports}/ours-{number}")
            ours.append(time.monotonic() - start)
            time.sleep(0.3)
            device.api("DELETE", f"/api/v1/namespaces/default/pods/a{number}?gracePeriodSeconds=0")
            device.wait_gone(f"a{number}")
            theirs.append(bare.run(number))
        bare.close()
    # The first one pulls the image.
    mine, peer = statistics.median(ours[1:]) * 1000, statistics.median(theirs[1:]) * 1000
    print(f"apply to running: {mine:.0f} ms, bare: {peer:.0f} ms", file=sys.stderr)
    return mine / peer, 1


def all_of_ours(device):
    return pss_kb(device.process.pid) + sum(pss_kb(pid) for pid in device.shim_pids())


@row("kB", 300, decimals=0)
def container_memory_kb():
    with Running("many", registry=True) as device:
        # One pod before, so that what the first needs (the image, the network) is not counted to each.
        device.create(pod("warm"))
        device.wait_ready_pod("warm", 60)
        device.api("DELETE", "/api/v1/namespaces/default/pods/warm")
        device.wait_gone("warm")
        none = settled(lambda: all_of_ours(device))
        names = [f"c{n}" for n in range(20)]
        device.create(*[pod(name) for name in names])
        for name in names:
            device.wait_ready_pod(name, 120)
        return (settled(lambda: all_of_ours(device)) - none) / 20


@row("MB", 5, decimals=2)
def installed_mb():
    total = 0
    for program in PROGRAMS:
        source = os.path.join(BUILD, program)
        if not os.path.exists(source):
            raise Failure(f"{program} is not built")
        stripped = os.path.join(SCRATCH, "stripped")
        shutil.copy(source, stripped)
        subprocess.run(["strip", stripped], check=True)
        total += os.path.getsize(stripped)
    return total / (1 << 20)


def measure(name, unit, budget, peer, decimals, function):
    value = function()
    value, peer_value = value if isinstance(value, tuple) else (value, None)  # in the same unit
    return {"name": name, "unit": unit, "value": round(value, decimals), "budget": budget, "peer": peer,
            "peer_value": peer_value and round(peer_value, decimals),
            "ratio": round(value / peer_value, 3) if peer_value else None, "ok": value <= budget}


def table(results):
    print(f"{'name':28} {'value':>10} {'unit':5} {'budget':>8}  {'within':6} peer")
    for r in results:
        peer = f"{r['peer']}: {r['peer_value']}" if r["peer"] else ""
        print(f"{r['name']:28} {r['value']:>10} {r['unit']:5} {r['budget']:>8}  {'yes' if r['ok'] else 'NO':6} {peer}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    unknown = set(options.names) - {r[0] for r in rows}
    if unknown:
        sys.exit(f"unknown rows {' '.join(sorted(unknown))}; there are {' '.join(r[0] for r in rows)}")
    results, failed = [], False
    for entry in rows:
        if options.names and entry[0] not in options.names:
            continue
        try:
            results.append(measure(*entry))
        except Failure as failure:
            failed = True
            print(f"{entry[0]}: {failure}", file=sys.stderr)
    table(results)
    with open(options.output, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""What the rows of the benchmark share: the list of them, devices, and ways to look at memory, CPU, disk and peers."""
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/packaging")
import yaml

from case import Failure, Skip, eventually
from limpet import BUILD, SCRATCH, Device, pod, pss_kb

rows = []


def row(unit, budget, peer=None, decimals=1, at_least=False):
    """A row is a function that returns its value, or (value, peer's value), or a Ratio; what it needs it starts itself.
    at_least: the budget is met from there on upwards. A peer's value of None: it cannot be had here, which is said."""
    def add(function):
        rows.append({"name": function.__name__, "unit": unit, "budget": budget, "peer": peer, "decimals": decimals,
                     "at_least": at_least, "function": function})
        return function
    return add


class Ratio:
    """A row whose value is ours through the peer's, both in `unit`."""

    def __init__(self, ours, peers, unit):
        self.value, self.peers, self.unit = ours / peers, peers, unit


notes = []


def note(text):
    """Beside the table: what a reader must know of a figure."""
    notes.append(text)
    print(text, file=sys.stderr)


class Missing(Skip):
    """A row that cannot be measured here, with the reason."""


def settled(measure, seconds=5):
    """The lower of two readings some seconds apart: what start-up needed for a moment does not count as idle."""
    time.sleep(seconds / 2)
    first = measure()
    time.sleep(seconds / 2)
    return min(first, measure())


class Running:
    """A device for one row. `flash`: dataDir, /etc/limpet and the logs lie on a loop device of their own."""

    def __init__(self, name, registry=False, flash=False, **config):
        self.flash = Flash(os.path.join(SCRATCH, name)) if flash else None
        self.device = Device(name, registry=registry, logs={"level": "info"}, **config)
        self.device.flash = self.flash

    def __enter__(self):
        return self.device.start()

    def __exit__(self, *_):
        leaks = self.device.close()
        if self.flash:
            self.flash.close()
        if leaks:
            print("left behind: " + "; ".join(leaks), file=sys.stderr)


def start_pods(device, count, prefix="p"):
    names = [f"{prefix}{n}" for n in range(count)]
    device.create(*[pod(name) for name in names])
    for name in names:
        device.wait_ready_pod(name, 120)
    return names


def delete_pods(device, names):
    for name in names:
        device.api("DELETE", f"/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0")
    for name in names:
        device.wait_gone(name, 60)


# ---- memory ----

def tree_of(pid):
    """The process and everything below it."""
    out, left = [], [pid]
    while left:
        one = left.pop()
        out.append(one)
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/children", encoding="utf-8") as file:
                    left += [int(child) for child in file.read().split()]
        except OSError:
            pass
    return out


def pss_of_all(pids):
    total = 0
    for pid in pids:
        try:
            total += pss_kb(pid)
        except (OSError, StopIteration):
            pass  # it ended meanwhile
    return total


def is_the_containers(pid):
    """Whether it is a process of a container and not of limpet: it lives in another PID namespace, and is no longer the
    runtime that made it."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            program = os.path.basename(file.read().split(b"\0")[0])
        return program not in (b"runc", b"crun") and os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    except OSError:
        return True  # it ended


def ours(device):
    """The daemon, the shims, which are not its children, and everything below them up to the containers' own processes."""
    pids = set(tree_of(device.process.pid))
    for shim in device.shim_pids():
        pids.update(tree_of(shim))
    return [pid for pid in pids if not is_the_containers(pid)]


def all_of_ours(device):
    return pss_of_all(ours(device))


def cpu_seconds(pids):
    """Of all their threads, by the kernel's own account in nanoseconds."""
    total = 0
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat", encoding="utf-8") as file:
                    total += int(file.read().split()[0])
        except OSError:
            pass
    return total / 1e9


# ---- flash ----

class Flash:
    """An ext4 file system on a loop device, mounted where the device's directories come to lie. What reaches the
    device is counted by the kernel, after a sync."""

    def __init__(self, place, megabytes=1024):
        self.place, self.file = place, place + ".img"
        os.makedirs(place, exist_ok=True)
        with open(self.file, "wb") as file:
            file.truncate(megabytes << 20)
        # Nothing is left to be initialised later, which would count as writing.
        self._run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.file)
        # Taken off with the mount, so that nothing of it stays when a run is killed.
        self._run("mount", "-o", "loop", self.file, place)
        self.loop = self._run("findmnt", "-n", "-o", "SOURCE", "--target", place).strip()
        os.makedirs(os.path.join(place, "run"))
        self._run("mount", "-t", "tmpfs", "limpet-run", os.path.join(place, "run"))  # as /run is

    @staticmethod
    def _run(*words):
        done = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Missing(f"{' '.join(words[:1])}: {done.stderr.strip()}")
        return done.stdout

    def written(self):
        """Bytes so far."""
        subprocess.run(["sync", "-f", self.place], check=True)
        with open(f"/sys/block/{os.path.basename(self.loop)}/stat", encoding="utf-8") as file:
            return int(file.read().split()[6]) * 512

    def close(self):
        for place in (os.path.join(self.place, "run"), self.place):
            subprocess.run(["umount", "-l", place], check=False, stderr=subprocess.DEVNULL)
        os.unlink(self.file)


# ---- load over TLS ----

def credentials(device, host=None):
    """The files of the administrator's kubeconfig, as options of limpet-bench-load. `host`: instead of the loopback there."""
    with open(device.kubeconfig, encoding="utf-8") as file:
        config = yaml.safe_load(file)
    user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
    out = ["--connect", f"{host}:6443" if host else cluster["server"].removeprefix("https://")]
    for option, data in (("--ca", cluster["certificate-authority-data"]), ("--cert", user["client-certificate-data"]),
                         ("--key", user["client-key-data"])):
        path = os.path.join(device.home, "bench" + option[1:])
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
        out += [option, path]
    return out


def load(device, *options, cpu=None, host=None):
    """What limpet-bench-load says."""
    program = os.path.join(BUILD, "tests", "bench", "limpet-bench-load")
    if not os.path.exists(program):
        raise Missing("limpet-bench-load is not built; build with -Dbench=true")
    words = (["taskset", "-c", str(cpu)] if cpu is not None else []) + [program, *credentials(device, host), *map(str, options)]
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failure(f"limpet-bench-load: {done.stdout}{done.stderr[-1000:]}")
    return json.loads(done.stdout)


def pin(pid, cpu):
    subprocess.run(["taskset", "-a", "-p", "-c", str(cpu), str(pid)], check=True, stdout=subprocess.DEVNULL)


# ---- peers ----

def peer_program(name):
    """Of tests/bench/peers.sh, or the machine's own; None when there is none."""
    mine = os.path.join(os.environ["LIMPET_SOURCE"], "build", "peers", "bin", name)
    return mine if os.path.exists(mine) else shutil.which(name)


def median_ms(times):
    return statistics.median(times) * 1000

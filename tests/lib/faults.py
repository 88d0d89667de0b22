"""What can happen to one server of a cluster, and what must be true of the others meanwhile, as one table.

    give_disks(cluster)              # before the start: disks that can be filled and stopped without harm to the machine
    cluster.start()
    for fault in FAULTS:
        strike(cluster, fault, ["leader", "follower"])

Each fault is a context manager and lasts as long as its block.
"""
import concurrent.futures
import contextlib
import os
import signal
import subprocess
import time

from bad_disk import BadDisk
from case import eventually, expect_equal
from limpet import config_map
from load import Load

LASTS = 2.0  # beside what is looked at meanwhile


def give_disks(cluster, megabytes=24):
    for device in cluster.devices:
        os.makedirs(device.data_dir, exist_ok=True)
        subprocess.run(device.prefix + ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "disk", device.data_dir],
                       check=True)
        device.disk = BadDisk(device)
        device.launcher = device.disk.launcher


@contextlib.contextmanager
def killed(cluster, device):
    device.kill()
    try:
        yield
    finally:
        device.start_daemon()


@contextlib.contextmanager
def stopped(cluster, device):
    device.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        device.process.send_signal(signal.SIGCONT)


def cut(way):
    @contextlib.contextmanager
    def fault(cluster, device):
        cluster.cut(device, way)
        try:
            yield
        finally:
            cluster.heal()

    return fault


@contextlib.contextmanager
def disk_full(cluster, device):
    """All of it but a few pages."""
    filler = os.path.join(device.data_dir, "filler")
    subprocess.run(device.prefix + ["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], check=False, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run(device.prefix + ["rm", filler], check=True)


@contextlib.contextmanager
def disk_stalled(cluster, device):
    device.disk.say("hang")
    try:
        yield
    finally:
        device.disk.say("ok")


FAULTS = {
    "killed": killed,
    "stopped": stopped,
    "cut_off": cut("both"),
    "hears_nothing": cut("in"),
    "nobody_hears_it": cut("out"),
    "disk_full": disk_full,
    "disk_stalled": disk_stalled,
}


def strike(cluster, name, roles, rounds=1):
    """The fault hits a server in each of these roles, under a load of writes and with watches on all of them."""
    load = Load(cluster.devices, name.replace("_", "-"), kubectl=True).start()
    load.progress(through=cluster.devices)
    for _ in range(rounds):
        for role in roles:
            device = cluster.leader() if role == "leader" else cluster.followers()[0]
            _strike(cluster, name, role, device, load)
    load.stop()
    load.check(cluster.devices)


def _strike(cluster, name, role, device, load):
    others = [d for d in cluster.devices if d is not device]
    # A leader whose disk is full may lead on for a while, and refuse what adds to it.
    hands_over = role == "leader" and name != "disk_full"
    term = cluster.status(cluster.leader())["term"]
    with FAULTS[name](cluster, device):
        if hands_over:
            eventually(lambda: cluster.leader(others) is not device, 20, "another one leads")
        load.progress(through=others)
        if name == "disk_full":
            eventually(lambda: through_kubectl(others) is None, 40, "kubectl meets a leader with room")
        else:
            through_kubectl(others)
        time.sleep(LASTS)
        load.progress(through=others)
    cluster.leader()
    load.watch_again()
    load.progress(through=cluster.devices)
    if role == "follower":
        expect_equal(cluster.status(cluster.leader())["term"], term, f"{name}: term, as nobody had to be elected")


def through_kubectl(devices):
    """Each applies an object, every one sees all of them at once, and each deletes its own."""
    def at_once(call):
        with concurrent.futures.ThreadPoolExecutor(len(devices)) as pool:
            return list(pool.map(call, devices))

    names = [f"by-{d.name}" for d in devices]
    at_once(lambda d: d.apply(config_map(f"by-{d.name}")))
    for shown in at_once(lambda d: d.kubectl(["get", "configmap", "-o", "name", *names])):
        expect_equal(shown.split(), [f"configmap/{n}" for n in names], "what kubectl gets")
    at_once(lambda d: d.kubectl(f"delete configmap by-{d.name}"))

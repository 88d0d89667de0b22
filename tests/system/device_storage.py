#!/usr/bin/env python3
# timeout: 240
"""The device's disk becomes read-only, fails to sync, or stalls for seconds: what runs goes on, nothing that was acknowledged
is lost, a stall holds up writes only, and once the disk is well the next start is a good one."""
import os
import re
import socket
import sys
import threading
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from bad_disk import BadDisk
from case import Failure, case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import SCRATCH, config_map, container_status, pod, pod_device

device = pod_device()
device.create(pod("keeps"))
device.wait_ready_pod("keeps", 60)
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
EVENTS = "/api/v1/namespaces/default/events"
disk = BadDisk(device)


def boot(**more):
    disk.say("ok")
    device.stop()
    device.launcher = disk.launcher
    device.start_daemon(environment=more)


def log_since(start):
    with open(device.log_file, encoding="utf-8", errors="replace") as file:
        return file.read()[start:]


def write_until_refused(prefix):
    """The names of what was acknowledged."""
    done = []
    for number in range(50):
        try:
            answer = device.api("POST", CONFIG_MAPS, config_map(f"{prefix}-{number}"), check=False)
        except (Failure, OSError, ValueError):
            return done
        if "metadata" not in answer or answer.get("kind") == "Status":
            return done
        done.append(f"{prefix}-{number}")
    raise Failure("every write is acknowledged")


def ends_with_a_reason(state, reason):
    container = container_status(device.pod("keeps"))["containerID"]
    boot()
    done = [device.api("POST", CONFIG_MAPS, config_map(f"{state}-before"))["metadata"]["name"]]
    before = os.path.getsize(device.log_file)
    disk.say(state)
    done += write_until_refused(state)
    expect_equal(device.process.wait(20), 1, "the daemon's end")
    device.process = None
    expect_match(reason, log_since(before))
    pids = device.container_pids()
    expect(pids, "the container is gone")
    for _ in range(3):  # as a service manager does it, again and again
        before = os.path.getsize(device.log_file)
        device.start_daemon(wait=False)
        if state == "erofs":
            expect_equal(device.process.wait(20), 1, "a start on it")
            expect_match("Read-only file system", log_since(before))
            expect(len(log_since(before).splitlines()) < 20, "a flood of lines")
        else:
            eventually(lambda: device.process.poll() is not None or "ready" in log_since(before), 20, "a start on it")
            if device.process.poll() is None:
                device.kill()
        device.process = None
    expect_equal(device.container_pids(), pids, "the container's processes")
    disk.say("ok")
    device.launcher = []
    device.start_daemon()
    there = device.names(CONFIG_MAPS)
    expect_equal([n for n in done if n not in there], [], "acknowledged and lost")
    expect_equal(container_status(device.wait_ready_pod("keeps"))["containerID"], container, "the container")
    expect_equal([f for f in os.listdir(device.data_dir) if "damaged" in f], [], "set aside")
    device.api("POST", CONFIG_MAPS, config_map(f"{state}-after"))


@case
def read_only():
    ends_with_a_reason("erofs", "Read-only file system")


@case
def failed_sync():
    ends_with_a_reason("eio", "cannot go on.*Input/output error")


class EventWatch(threading.Thread):
    """A watch on Events, which are in memory only, with the time at which each came."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen = {}
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.path.join(device.run_dir, "limpet.sock"))
        self.socket.sendall(f"GET {EVENTS}?watch=true HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        self.start()

    def run(self):
        for line in self.socket.makefile("rb"):
            for name in re.findall(rb'"name":"(volatile-[0-9]+)"', line):
                self.seen.setdefault(name.decode(), time.monotonic())

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self.socket.close()


def event(name):
    return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "type": "Normal", "reason": "Test", "message": "m",
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "keeps"}}


@case
def stall():
    """Seconds in the storage thread. Reads, watches and the watchdog do not wait for it: what waits takes as long as the
    write, and half of that is the limit, however slow the machine is."""
    address = os.path.join(SCRATCH, "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    pings = []

    def listen():
        while True:
            said = manager.recv(4096)
            if b"WATCHDOG=1" in said:
                pings.append(time.monotonic())
            if said == b"end":
                return

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        boot(NOTIFY_SOCKET=address, WATCHDOG_USEC="1000000")
        watch = device.popen(["kubectl", "get", "configmaps", "-w", "-o", "name"])
        events = EventWatch()
        device.api("POST", CONFIG_MAPS, config_map("before-stall"))
        device.api("POST", EVENTS, event("volatile-0"))
        eventually(lambda: "volatile-0" in events.seen, 20, "the watch on events")
        began = time.monotonic()
        disk.say("stall 2000")
        took = []

        def write():
            start = time.monotonic()
            device.api("POST", CONFIG_MAPS, config_map("during-stall"))
            took.append(time.monotonic() - start)

        writer = threading.Thread(target=write)
        writer.start()
        slowest, posted = 0, {}
        while writer.is_alive():
            start = time.monotonic()
            device.names("/api/v1/pods")
            expect_equal(device.api("GET", "/livez", raw=True), "ok", "livez")
            slowest = max(slowest, time.monotonic() - start)
            name = f"volatile-{len(posted) + 1}"
            posted[name] = time.monotonic()
            device.api("POST", EVENTS, event(name))
            if time.monotonic() - began > 60:
                raise Failure("the write never ends")
            time.sleep(0.1)
        ended = time.monotonic()
        disk.say("ok")
        writer.join()
        expect(took and took[0] >= 6, f"the disk did not stall: {took}")
        expect(slowest < took[0] / 2, f"a read took {slowest:.2f} s, the write {took[0]:.2f} s")
        times = [began] + [p for p in pings if began < p < ended] + [ended]
        gap = max(b - a for a, b in zip(times, times[1:]))
        expect(gap < took[0] / 2, f"the watchdog was silent for {gap:.2f} s, the write took {took[0]:.2f} s")
        eventually(lambda: not set(posted) - set(events.seen), 20, "the watch is told of every event")
        events.end()
        late = max(events.seen[name] - at for name, at in posted.items())
        expect(len(posted) > 5 and late < took[0] / 2, f"a watch was told after {late:.2f} s, the write took {took[0]:.2f} s")
        print(f"stall: the write took {took[0]:.2f} s, the slowest read {slowest:.2f}, {len(posted)} events in a watch {late:.2f}, pings {gap:.2f}")
        eventually(lambda: "during-stall" in device.names(CONFIG_MAPS), 5, "the write")
        watch.terminate()
        expect_match("configmap/during-stall", watch.communicate()[0])
    finally:
        device.stop()
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"end", address)
        listener.join()
    device.launcher = []
    device.start_daemon()


run(device, at_once=1)

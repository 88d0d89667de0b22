#!/usr/bin/env python3
# timeout: 300
"""The disk of the device fills up, while it runs and before it starts: what runs goes on, reads are answered, what cannot
be written says why, a restart comes up from a full disk, and with room again all is written without a restart."""
import glob
import os
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import SCRATCH, Device, config_map, container_status, pod, pod_device

DISK = os.path.join(SCRATCH, "disk")
os.makedirs(DISK)
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "limpet-test", DISK], check=False).returncode:
    skip("no tmpfs can be mounted here")
TOLD = os.path.join(SCRATCH, "told")  # on another disk
os.makedirs(TOLD)


class Small(Device):
    """All that the device writes, containers' logs too, lies on a disk of 64 MB."""

    def configure(self, **config):
        self.data_dir = os.path.join(DISK, "data")
        self.logs_dir = os.path.join(DISK, "logs")
        super().configure(**config)

    def fill(self):
        """To the last byte and the last small file."""
        for number in range(1000):
            try:
                with open(f"{DISK}/filler-{number}", "ab", buffering=0) as file:  # what is filled stays so
                    while True:
                        if file.write(b"x" * (1 << 20 if number < 3 else 4096)) < 4096:
                            break
            except OSError:
                if number > 5:
                    return
        raise Failure("the disk does not fill")

    def make_room(self):
        for path in glob.glob(DISK + "/filler-*"):
            os.unlink(path)

    def log_count(self, text):
        with open(self.log_file, encoding="utf-8", errors="replace") as file:
            return file.read().count(text)

    def put(self, name, value="x", check=True):
        return self.api("POST", "/api/v1/namespaces/default/configmaps", config_map(name, value=value), check=check)

    def restarts(self, name):
        return container_status(self.pod(name))["restartCount"]


import limpet  # noqa: E402

limpet.Device = Small
device = pod_device()
device.create(pod("keeps", "exec sleep 100000"), pod("talks", "while true; do echo 0123456789; sleep 0.2; done"),
              pod("restarts", "sleep 2; exit 1"),
              pod("told", "until rm /told/end 2>/dev/null; do sleep 0.1; done", container={"volumeMounts": [{"name": "t", "mountPath": "/told"}]},
                  volumes=[{"name": "t", "hostPath": {"path": TOLD}}]))
for name in "keeps", "talks", "told":
    device.wait_ready_pod(name)


def first_pid(name):
    return container_status(device.pod(name))["containerID"]


def answers_while_full():
    """Nothing but writing is hurt."""
    expect_equal(device.api("GET", "/livez", raw=True), "ok", "livez")
    expect("keeps" in device.names("/api/v1/namespaces/default/pods"), "the list of pods")
    expect_match("hello", device.kubectl("exec keeps -- echo hello"))
    for _ in range(20):  # containers that are cleaned up make room in between
        device.fill()
        refused = device.put("refused", "x" * 20000, check=False)
        if refused.get("code") == 507:
            return expect_match("no room to write; deleting objects is still possible", refused["message"])
        device.api("DELETE", "/api/v1/namespaces/default/configmaps/refused")
    raise Failure(f"a write: {str(refused)[:300]}")


def ends_while_full():
    """A container is told to end, and the API does not know that it did. How often the API knows that it ran anew."""
    for _ in range(5):
        answers_while_full()
        before = container_status(device.wait_ready_pod("told"))
        open(TOLD + "/end", "w", encoding="ascii").close()
        eventually(lambda: not os.path.exists(TOLD + "/end"), 20, "the container takes the word")
        for _ in range(20):  # its status comes within less when there is room
            device.fill()
            time.sleep(0.1)
        if container_status(device.pod("told")) == before:
            return before["restartCount"]
        device.make_room()  # it was written into what something else left
    raise Failure("the status of a container is written although the disk is full")


@case
def full_while_running():
    before = first_pid("keeps")
    for number in range(20):
        device.put(f"before-{number}", "x" * 1000)
    device.fill()
    # What is left of the write-ahead log may take some more.
    acknowledged = []
    for number in range(3000):
        answer = device.put(f"more-{number}", "x" * 4000, check=False)
        if answer.get("code") == 507:
            break
        acknowledged.append(answer["metadata"]["name"])
    else:
        raise Failure("a full disk refuses nothing")
    answers_while_full()
    lines = device.log_count("\n")
    # By deleting a person makes room for what must be written.
    for number in range(20):
        device.api("DELETE", f"/api/v1/namespaces/default/configmaps/before-{number}")
    eventually(lambda: first_pid("keeps") == before, 5, "the container")
    device.fill()
    for number in range(200):
        if device.put(f"again-{number}", "x" * 4000, check=False).get("code") == 507:
            break
        acknowledged.append(f"again-{number}")
    answers_while_full()
    expect(device.log_count("\n") - lines < 1500, "the log is flooded")
    count = ends_while_full()
    device.make_room()
    eventually(lambda: device.put("after")["metadata"]["name"] == "after", 20, "a write when there is room", 0.2)
    eventually(lambda: device.restarts("told") == count + 1, 60, "the status is written again", 0.2)
    device.wait_ready_pod("told", 60)
    expect_equal(first_pid("keeps"), before, "the container")
    device.create(pod("new"))
    device.wait_ready_pod("new")
    names = device.names("/api/v1/namespaces/default/configmaps")
    expect_equal([n for n in acknowledged if n not in names], [], "acknowledged and lost")
    expect_equal(device.kill(), -9, "kill")
    device.start_daemon()
    expect_equal(device.names("/api/v1/namespaces/default/configmaps"), names, "after a restart")


def no_room_at_all():
    device.fill()
    for path in glob.glob(device.data_dir + "/*.reserve"):
        os.unlink(path)
    device.fill()


@case
def full_at_the_start():
    before = first_pid("keeps")
    for stop in (device.stop, device.kill, device.stop):
        number = device.log_count("serving certificate written")
        said = device.log_count("certificates cannot be written")
        no_room_at_all()
        stop()
        device.fill()
        device.configure(tls={"names": [f"name-{number}-{stop.__name__}.example"]})  # the certificates are to change
        device.start_daemon()
        expect_equal(first_pid("keeps"), before, "the container")
        answers_while_full()
        expect(device.log_count("certificates cannot be written") > said, "not said that certificates are in memory only")
        device.kubectl("get nodes")
        expect_equal(glob.glob(device.data_dir + "/*.damaged-*"), [], "set aside")
        device.make_room()
        eventually(lambda: device.put(f"room-{stop.__name__}-{number}"), 20, "a write when there is room", 0.2)
        device.process.send_signal(signal.SIGHUP)
        eventually(lambda: f"name-{number}-{stop.__name__}.example" in subprocess.run(
            ["openssl", "x509", "-noout", "-text", "-in", device.data_dir + "/pki/serving.crt"], check=True,
            stdout=subprocess.PIPE, text=True).stdout, 20, "the certificate is written", 0.2)
    device.stop()
    database = sqlite3.connect(f"{device.data_dir}/node.db")
    pods = database.execute("SELECT count(*) FROM record WHERE kind = 'pod'").fetchone()[0]
    database.close()
    device.start_daemon()
    expect_equal(pods, len(device.names("/api/v1/pods")), "pods in node.db")


@case
def first_start_on_a_full_disk():
    other = Device(name="fresh", registry=False, dataDir=os.path.join(DISK, "fresh"), network={"mode": "none"},
                   listen={"api": {"address": "127.0.0.1", "port": 7443}})
    other.runs_pods = False
    device.fill()
    for _ in range(3):
        other.start_daemon(wait=False)
        expect_equal(other.process.wait(20), 1, "a first start without room")
        expect_match("No space left on device|disk is full", other.log_tail(5))
    device.make_room()
    other.start_daemon()
    expect("default" in other.names("/api/v1/namespaces"), "namespaces")
    expect_equal(other.close(), [], "left behind")


run(device, at_once=1)

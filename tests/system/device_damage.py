#!/usr/bin/env python3
# timeout: 300
"""A first start that is cut at any point goes on at the next; files of the device that are emptied, cut or overwritten are
mended at the next start, or named with what to do, while what runs goes on."""
import glob
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, expect_match, run
from limpet import Device, container_status, pod, pod_device, secret

POINTS = [f"pki.{name}.write{step}" for name in ("ca_key", "ca", "sa_key", "serving_key", "serving", "admin_key", "admin",
                                                 "kubeconfig", "seal_key") for step in ("", ".rename", ".synced")]
POINTS += ["store.directory.sync", "store.open", "store.migrate.step", "store.migrate.commit", "store.boot.commit",
           "store.commit.before", "store.commit.write", "store.commit.after", "store.ack.before", "store.publish",
           "store.commit.before@5", "store.commit.after@3"]
device = pod_device()


def kubectl_works(of):
    code, out, err = of.run(["kubectl", "get", "namespace", "default", "-o", "name"])
    expect_equal((code, out.strip()), (0, "namespace/default"), err)


@case
def first_start_cut_anywhere():
    other = Device(name="first", registry=False, network={"mode": "none"}, listen={"api": {"address": "127.0.0.1", "port": 7443}})
    other.runs_pods = False
    missed = []
    for number, point in enumerate(POINTS):
        for path in other.data_dir, other.run_dir, os.path.dirname(other.kubeconfig):
            shutil.rmtree(path, ignore_errors=True)
        name, _, nth = point.partition("@")
        environment = {"LIMPET_FAILPOINTS": f"{name}=kill" + (f"@{nth}" if nth else "@1")}
        other.start_daemon(wait=False, environment=environment)
        try:
            expect_equal(other.process.wait(5), -signal.SIGKILL, point)
            other.process = None
        except subprocess.TimeoutExpired:
            if not nth:  # how many commits a start makes depends on how they come together
                missed.append(point)
            other.kill()
        # Cut once more at the same place, as a supply that cannot carry the start does it.
        other.start_daemon(wait=False, environment=environment)
        try:
            other.process.wait(0.3)
        except subprocess.TimeoutExpired:
            pass
        other.kill()
        other.start_daemon()
        expect("default" in other.names("/api/v1/namespaces"), point)
        expect_equal(glob.glob(other.data_dir + "/**/*.tmp-*", recursive=True) + glob.glob(other.data_dir + "/*damaged*"), [], point)
        if number % 6 == 0:
            kubectl_works(other)
            before = {f: os.stat(f).st_ino for f in glob.glob(other.data_dir + "/pki/*") + [other.kubeconfig]}
            expect_equal(other.stop(), 0, point)
            other.start_daemon()
            expect_equal({f: os.stat(f).st_ino for f in before}, before, f"{point}: made anew")
        expect_equal(other.stop(), 0, point)
    expect_equal(missed, [], "points that a first start does not reach")
    expect_equal(other.close(), [], "left behind")


# What is refused by name instead of mended: nothing can bring it back.
REFUSED = {"pki/ca.crt": "ca.crt", "limpet.db": "limpet.db"}


def damage(path, how):
    with open(path, "rb") as file:
        content = file.read()
    broken = {"empty": b"", "cut": content[:len(content) // 2], "overwritten": b"\xff\x00garbage\n" * (1 + len(content) // 10)}[how]
    with open(path, "wb") as file:
        file.write(broken)
    return content


@case
def damaged_files():
    device.create(secret("s", password="hunter2"))
    device.create(pod("keeps", volumes=[{"name": "v", "secret": {"secretName": "s"}}],
                      container={"volumeMounts": [{"name": "v", "mountPath": "/s"}]}))
    device.wait_ready_pod("keeps", 60)
    container = container_status(device.pod("keeps"))["containerID"]
    device.stop()
    files = [f for f in glob.glob(device.data_dir + "/**", recursive=True) if os.path.isfile(f)]
    # What pods wrote is theirs, and image_store.py damages what images hold.
    files = [f for f in files if not any(part in f[len(device.data_dir):] for part in ("/containers/", "/fs/", "/pods/"))]
    for part in "/blobs/", "/layer.json", "/index.json":
        expect(any(part in f for f in files), f"no file of {part}: {files}")
    files += [device.kubeconfig] + glob.glob(device.run_dir + "/leases/*")
    expect(len(files) > 10, f"too few files: {files}")
    for path in sorted(files):
        short = path[len(device.data_dir) + 1:] if path.startswith(device.data_dir) else path
        for how in "empty", "cut", "overwritten":
            if not os.path.exists(path) or (how == "cut" and os.path.getsize(path) < 2):
                continue
            content, mark = damage(path, how), f"{short}, {how}"
            pids = device.container_pids()
            before = os.path.getsize(device.log_file)
            device.start_daemon(wait=False)
            if short in REFUSED and not (short == "pki/ca.crt" and how == "empty"):
                expect_equal(device.process.wait(20), 1, mark)
                device.process = None
                with open(device.log_file, encoding="utf-8", errors="replace") as file:
                    said = file.read()[before:]
                expect_match(REFUSED[short], said, mark)
                expect_match("restore|move it away|keep a copy", said, mark)
                expect_equal(device.container_pids(), pids, f"{mark}: the containers")
                with open(path, "wb") as file:
                    file.write(content)
                continue
            try:
                device.wait_ready(20)
                expect_equal(container_status(device.wait_ready_pod("keeps"))["containerID"], container, mark)
                expect_match("hunter2", device.kubectl("exec keeps -- cat /s/password"), mark)
            except Failure as failure:
                raise Failure(f"{mark}: {failure}") from None
            expect_equal(device.stop(), 0, mark)
            if short == "pki/ca.key":  # goes on with what it signed, and says so
                with open(device.log_file, encoding="utf-8", errors="replace") as file:
                    expect_match("no certificate can be made or renewed.*restore ca.key", file.read()[before:], mark)
                with open(path, "wb") as file:
                    file.write(content)
    device.start_daemon()


def shims_of(identifier):
    found = []
    for pid in device.shim_pids():
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if identifier.encode() in file.read():
                found.append(pid)
    return found


@case
def damaged_records():
    """Of pods and containers in runDir: what cannot be known any more is begun anew, the pod beside is left alone, and of
    what was there before nothing stays."""
    device.create(pod("beside"), pod("recorded", "trap 'exit 0' TERM; while true; do sleep 0.2; done"))
    for name in "beside", "recorded":
        device.wait_ready_pod(name, 60)
    beside = container_status(device.pod("beside"))["containerID"]
    uid = device.pod("recorded")["metadata"]["uid"]

    def container_of(name):
        return container_status(device.wait_ready_pod(name, 60))["containerID"]

    for name in "pod.json", "container.json", "status.json", "config.json", "process.json":
        for how in "empty", "cut", "overwritten":
            mark, old = f"{name}, {how}", container_of("recorded")
            identifier, processes = old.rpartition("/")[2], len(device.container_pids())
            device.stop()
            [path] = glob.glob(f"{device.run_dir}/pods/{uid}/{name}") + glob.glob(f"{device.run_dir}/pods/{uid}/c/*/{name}")
            damage(path, how)
            device.start_daemon()
            try:
                if name in ("pod.json", "container.json", "status.json"):
                    eventually(lambda: container_of("recorded") != old, 30, "it is begun anew")
                    expect_match("hello", device.kubectl("exec recorded -- echo hello"))
                    expect_equal(len(glob.glob(f"{device.run_dir}/pods/{uid}/c/*")), 1, "directories of its containers")
                    eventually(lambda: not shims_of(identifier), 20, "the shim of before is gone")
                    expect(not os.path.exists(f"{device.run_dir}/runtime/{identifier}"), "what the runtime kept of it is there")
                else:
                    code, out, err = device.run(["kubectl", "exec", "recorded", "--", "echo", "hello"])
                    if name == "config.json":
                        expect_equal((code, out), (0, "hello\n"), err)
                    else:  # what an exec is made from; the container itself needs it no more
                        expect(code != 0 and err.strip(), f"exec: {code} {out} {err}")
                    expect_equal(container_of("recorded"), old, "the container")
                # Each of the two is sh, or sh and its sleep.
                eventually(lambda: abs(len(device.container_pids()) - processes) <= 1, 20, "as many processes as before")
                expect_equal(container_of("beside"), beside, "the pod beside")
            except Failure as failure:
                raise Failure(f"{mark}: {failure}") from None


run(device, at_once=1)

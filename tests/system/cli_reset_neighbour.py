#!/usr/bin/env python3
# timeout: 180
"""limpet reset beside others: what a person or another program has on the device is the same before and after, although
its places and names touch limpet's, and although the machine's mounts are shared as systemd makes them."""
import ctypes
import glob
import json
import os
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import SCRATCH, Device, pod

FOREIGN = "11111111-89ab-cdef-0123-456789abcdef"

device = Device()
if not device.runs_pods or not os.path.exists(device.programs + "/limpet"):
    device.close()
    skip("limpet, limpet-shim or limpet-unpack is not built")
if not shutil.which("runc") and not shutil.which("crun"):
    device.close()
    skip("no crun or runc")

disk = SCRATCH + "/disk"          # a shared file system of the machine, with runDir and a person's files in it
person = disk + "/person"
link = SCRATCH + "/var-run"       # as /var/run is one to /run
library = SCRATCH + "/var/lib"    # of another program, with names as limpet has them


def sh(words):
    return subprocess.run(words, shell=True, check=True, stdout=subprocess.PIPE, text=True).stdout


def put(path, text="x"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def files(root):
    found = {}
    for directory, names, others in os.walk(root):
        for name in others + [n for n in names if os.path.islink(os.path.join(directory, n))]:
            path = os.path.join(directory, name)
            if os.path.islink(path):
                found[path] = os.readlink(path)
            else:
                with open(path, encoding="utf-8") as file:
                    found[path] = file.read()
    return found


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        found = sorted(" ".join(line.split()[i] for i in (2, 3, 4)) for line in file)
    # What other programs of the machine have below /tmp comes and goes.
    return [m for m in found if SCRATCH + "/" in m or " /tmp/" not in m]


def links():
    return sorted((one["ifname"], one.get("master", ""), one["address"]) for one in json.loads(sh("ip -j link")))


def addresses():
    return [a["local"] for one in json.loads(sh("ip -j -4 address show br-lan")) for a in one["addr_info"]]


def state():
    neighbour.poll()
    return {"mounts": mounts(), "links": links(), "addresses": addresses(), "netns": sorted(os.listdir("/run/netns")),
            "person": files(person), "library": files(library), "foreign log": files(foreign_log),
            "process": (neighbour.pid, neighbour.returncode), "groups": [os.path.isdir(g) for g in groups]}


def expect_same(before):
    now = state()
    for what, value in before.items():
        if now[what] == value:
            continue
        if isinstance(value, list):
            gone, new = [v for v in value if v not in now[what]], [v for v in now[what] if v not in value]
            raise Failure(f"{what}: gone {gone}, new {new}")
        raise Failure(f"{what}: got {now[what]}, wanted {value}")


def reset(words=""):
    return device.run(f"limpet --config {device.config_file} reset {words}")


def foreign_groups():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        roots = [line.split()[4] for line in file if " - cgroup" in line and line.split()[5].startswith("rw")]
    made = []
    for root in roots:
        directory = f"{root}/{device.cgroup_root}/pod{FOREIGN}"
        os.makedirs(directory)
        made.append(directory)
    return made


def join(pid):
    """Into the foreign group; how many hierarchies take it (a version 1 cpuset without processors does not)."""
    joined = 0
    for group in groups:
        try:
            with open(group + "/cgroup.procs", "w", encoding="utf-8") as file:
                file.write(str(pid))
            joined += 1
        except OSError:
            pass
    return joined


os.makedirs(disk)
sh(f"mount -t tmpfs disk {disk} && mount --make-shared {disk}")
os.makedirs(disk + "/run")
os.symlink(disk + "/run", link)
device.run_dir = link + "/limpet"
put(person + "/volume/sub/photo.jpg", "a photo")
os.makedirs(person + "/volume/sub/usb")
sh(f"mount -t tmpfs usb {person}/volume/sub/usb")
put(person + "/volume/sub/usb/letter", "a letter")
put(person + "/archives/mine.tar")
os.makedirs(device.data_dir)
os.symlink(person + "/archives", device.data_dir + "/images")
for theirs in ("containers/storage/layer", "pki/tls/key", "pods/a/b", "lock/of-another"):
    put(f"{library}/{theirs}")
foreign_log = f"{device.logs_dir}/default_web_{FOREIGN}"
put(foreign_log + "/app/0.log", "a line\n")
sh("ip link add br-lan type bridge && ip link add lan0 type veth peer name cable && ip link set lan0 master br-lan up && ip link set br-lan up")
sh("ip address add 192.0.2.7/24 dev br-lan && ip netns add neighbour")
groups = foreign_groups()
neighbour = subprocess.Popen(["sleep", "100000"])
expect(join(neighbour.pid) > 0, "no hierarchy takes a process")


@case
def a_neighbour_survives():
    device.configure(network={"bridge": "br-lan"})
    before = state()
    expect(len(before["person"]) == 3 and before["process"][1] is None, before)
    device.start()
    volume = {"name": "v", "hostPath": {"path": person + "/volume"}}
    at = [{"name": "v", "mountPath": "/v", "subPath": "sub"}]
    device.create(pod("web", container={"volumeMounts": at}, volumes=[volume]),
                  pod("short", container={"volumeMounts": at}, volumes=[volume]))
    for name in ("web", "short"):
        device.wait_ready_pod(name)
    # A pod that is deleted takes its own mounts away only.
    device.api("DELETE", "/api/v1/namespaces/default/pods/short")
    device.wait_gone("short")
    eventually(lambda: not glob.glob(device.logs_dir + "/default_short_*"), 20, "the log of the deleted pod is gone")
    expect_equal(files(person), before["person"], "files after a pod was deleted")
    expect(any(f"{person}/volume/sub/usb" in m for m in mounts()), "the person's disk is mounted")
    expect(any("/sub/" in m and "/limpet/pods/" in m for m in mounts()), "the subPath is mounted")
    device.kill()

    code, out, err = reset("--yes")
    expect_equal(code, 0, out + err)
    expect_same(before)
    expect_match(r"kept:\s+the link br-lan", out)
    expect_match(r"kept:\s+the control group", out)
    expect_match(r"kept:\s+logs of 1 pod in", out)
    expect_equal(device.container_pids(), [neighbour.pid], "processes in the control group")
    expect_equal(device.shim_pids(), [], "shims")
    expect(not os.path.exists(disk + "/run/limpet"), "runDir")
    expect_equal(os.listdir(device.data_dir), ["images"], "dataDir")


@case
def a_directory_of_others_as_data_dir():
    before = state()
    device.configure(dataDir=library + "/", network={"bridge": "br-lan"})
    code, out, err = reset("--yes")
    expect_equal(code, 0, out + err)
    expect_match(r"kept:[^:]*nothing\s+in\s+it\s+shows", out)
    expect_same(before)
    os.symlink("/var/lib", SCRATCH + "/lib")
    device.configure(dataDir=SCRATCH + "/lib")
    code, out, err = reset("--yes")
    expect_equal(code, 1, out + err)
    expect_match(r"a\s+directory\s+of\s+the\s+whole\s+system", err)
    device.configure(dataDir=device.data_dir, cgroupRoot="./")
    code, out, err = reset("--yes")
    expect_equal(code, 1, out + err)
    expect_match("cgroupRoot", err)
    expect_same(before)


def deletions(directory):
    """A watch on what is deleted in it; the function gives the names in their order."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    expect(watch >= 0 and libc.inotify_add_watch(watch, directory.encode(), 0x200) >= 0, "inotify")

    def names():
        data, found = os.read(watch, 1 << 16), []
        os.close(watch)
        while data:
            _, mask, _, size = struct.unpack_from("iIII", data)
            if mask & 0x200:
                found.append(data[16:16 + size].rstrip(b"\0").decode())
            data = data[16 + size:]
        return found

    return names


@case
def a_unit_that_would_start_it_again():
    """systemd between two attempts: no limpetd has the lock, yet one is about to."""
    device.configure(network={"mode": "none"})
    device.start_daemon()
    device.kill()
    marker = SCRATCH + "/stopped"
    sh("mount -t tmpfs sbin /usr/local/sbin")
    put("/usr/local/sbin/systemctl", f"""#!/bin/sh
case "$1" in
show) state=activating; [ ! -e {marker} ] || state=inactive
  echo "ActiveState=$state"
  echo "ExecStart={{ path=/usr/bin/limpetd ; argv[]=/usr/bin/limpetd --config {device.config_file} ; ignore_errors=no }}";;
stop) echo "$2" > {marker};;
esac
""")
    os.chmod("/usr/local/sbin/systemctl", 0o755)
    # As systemd does with a unit that ends at once.
    retrying = subprocess.Popen(["sh", "-c", f"sleep 20; while [ ! -e {marker} ]; do {device.programs}/limpetd --config {device.config_file}; done"],
                                start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        code, out, err = reset("--yes")
        expect_equal(code, 1, out + err)
        expect_match(r"limpetd.service is about to start limpetd", err)
        expect(os.path.exists(device.data_dir + "/limpet.db"), "nothing was removed")
        order = deletions(device.data_dir)
        code, out, err = reset("--yes --stop")
        expect_equal(code, 0, out + err)
        with open(marker, encoding="utf-8") as file:
            expect_equal(file.read(), "limpetd.service\n", "what was stopped")
        names = order()
        expect("limpet.db" in names and "pki" in names, names)
        expect_equal(names[-2:], ["limpet.db.lock", "lock"], f"the locks go last: {names}")
    finally:
        os.killpg(retrying.pid, 9)
        retrying.wait()
        sh("umount /usr/local/sbin")

    # A lock that cannot be had ends it.
    device.start_daemon()
    device.stop()
    os.unlink(device.data_dir + "/lock")
    os.mkdir(device.data_dir + "/lock")
    code, out, err = reset("--yes")
    expect_equal(code, 1, out + err)
    expect_match(r"nothing\s+was\s+removed", err)
    expect(os.path.exists(device.data_dir + "/limpet.db"), "nothing was removed")
    os.rmdir(device.data_dir + "/lock")
    code, out, err = reset("--yes")
    expect_equal(code, 0, out + err)
    expect(not os.path.exists(disk + "/run/limpet"), "runDir of a limpetd that stopped with no pod")


run(device, at_once=1)

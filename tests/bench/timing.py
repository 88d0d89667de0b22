"""Rows of how long things take."""
import glob
import json
import os
import subprocess
import time

import busybox_image
from case import Failure, eventually
from limpet import SCRATCH, container_status, pod
from measure import Missing, Ratio, Running, load, median_ms, note, row, start_pods
from memory import Containerd
from reboot import mount_run, reboot, same_boot


def start_times(device, count):
    times = []
    for _ in range(count):
        device.stop()
        start = time.monotonic()
        device.start_daemon(wait=False)
        while True:
            try:
                if device.api("GET", "/readyz", raw=True) == "ok":
                    break
            except (OSError, Failure):
                time.sleep(0.0005)
        times.append(time.monotonic() - start)
    return times


@row("ms", 50, decimals=0)
def ready_ms():
    """Of a device that has its keys and no pods; the median of nine starts."""
    with Running("ready") as device:
        return median_ms(start_times(device, 9))


@row("ms", 150, decimals=0)
def ready_10k_ms():
    """The same with 10,000 ConfigMaps of 500 bytes."""
    with Running("ready10k") as device:
        load(device, "--create", "/api/v1/namespaces/default/configmaps", "--bytes", 500, "--clients", 16,
             "--total", 10000, "--seconds", 600)
        return median_ms(start_times(device, 9))


@row("ms", 2000, decimals=0)
def offline_restart_ms():
    """Every process gone, runDir empty, another boot id, no registry: from the daemon's start until the API says that
    ten pods run anew. The median of three."""
    run_dir = os.path.join(SCRATCH, "offline", "run")
    mount_run(run_dir)
    times = []
    with Running("offline", registry=True) as device:
        names = start_pods(device, 10)
        for _ in range(3):
            before = {n: container_status(device.pod(n))["containerID"] for n in names}
            reboot(device, run_dir)
            start = time.monotonic()
            device.start_daemon(wait=False)
            left = set(names)
            while left:
                try:
                    for item in device.api("GET", "/api/v1/namespaces/default/pods")["items"]:
                        status = container_status(item)
                        name = item["metadata"]["name"]
                        if "running" in status.get("state", {}) and status["containerID"] != before[name]:
                            left.discard(name)
                except (OSError, Failure):
                    pass
                if time.monotonic() - start > 120:
                    raise Failure(f"after two minutes these do not run: {' '.join(sorted(left))}")
                time.sleep(0.002)
            times.append(time.monotonic() - start)
        device.registry.start().wait()
    same_boot()
    return median_ms(times)


def wait_for_file(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise Failure(f"{os.path.basename(path)} did not report within {seconds} s")
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


def ctr_run_ms(reports):
    """`ctr run` of the same image, as far as there is a containerd."""
    archive = os.path.join(SCRATCH, "ctr.tar")
    busybox_image.Image().archive(archive, "docker.io/library/busybox:1")
    try:
        with Containerd() as containerd:
            snapshotter = "overlayfs"
            if containerd.ctr("images", "import", "--snapshotter", snapshotter, archive, check=False).returncode != 0:
                snapshotter = "native"  # an overlay cannot lie on every file system
                containerd.ctr("images", "import", "--snapshotter", snapshotter, archive)
            times = []
            for number in range(6):
                start = time.monotonic()
                with open(os.path.join(SCRATCH, "ctr.log"), "ab") as log:
                    process = subprocess.Popen(
                        ["ctr", "--address", containerd.address, "run", "--rm", "--snapshotter", snapshotter, "--mount",
                         f"type=bind,src={reports},dst=/reports,options=rbind:rw", "docker.io/library/busybox:1",
                         f"bench-{number}", "sh", "-c", f"echo > /reports/ctr-{number}"], env=containerd.environment,
                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                try:
                    wait_for_file(f"{reports}/ctr-{number}", 20)
                    times.append(time.monotonic() - start)
                finally:
                    process.kill()
                    process.wait()
            return median_ms(times[1:])
    except (Missing, Failure, OSError, subprocess.CalledProcessError) as reason:
        note(f"apply_to_running_ratio: no figure of ctr run: {reason} {getattr(reason, 'stdout', '') or ''}")
        return None


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
    mine, peer = median_ms(ours[1:]), median_ms(theirs[1:])
    ctr = ctr_run_ms(reports)
    note(f"apply_to_running_ratio: {mine:.0f} ms, bare {peer:.0f} ms" + (f", ctr run {ctr:.0f} ms" if ctr else ""))
    return Ratio(mine, peer, "ms")

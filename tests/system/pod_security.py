#!/usr/bin/env python3
# timeout: 240
"""Who a container is and what it may do; limits as the kernel's cgroup files have them."""
import glob
import os
import subprocess
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import container_status, pod, pod_device

device = pod_device()
kubectl = device.kubectl


def output(name, script, context=None, **spec):
    container = {"securityContext": context} if context else {}
    container.update(spec.pop("container", {}))
    device.create(pod(name, script, restartPolicy="Never", container=container, **spec))
    device.wait_pod(name, lambda p: p["status"]["phase"] in ("Succeeded", "Failed"))
    return kubectl(f"logs {name}")


def status_line(text, name):
    return next(line.split()[1] for line in text.splitlines() if line.startswith(name + ":"))


@case
def user_and_groups():
    text = output("user", "id; touch /data/f; stat -c %g /data/f", {"runAsUser": 1234, "runAsGroup": 2345},
                  securityContext={"fsGroup": 3456, "supplementalGroups": [4567], "runAsUser": 1},
                  container={"volumeMounts": [{"name": "v", "mountPath": "/data"}]}, volumes=[{"name": "v", "emptyDir": {}}])
    expect_match(r"uid=1234 gid=2345 groups=.*3456.*4567|uid=1234 gid=2345 groups=.*4567.*3456", text)
    expect_match("^3456$", text)


@case
def not_root():
    device.create(pod("rootless", container={"securityContext": {"runAsNonRoot": True}}))
    found = device.wait_status("rootless", "CreateContainerConfigError")
    expect_match("container has runAsNonRoot and image will run as root", container_status(found)["state"]["waiting"]["message"])


@case
def capabilities():
    default = int(status_line(output("caps", "cat /proc/self/status"), "CapEff"), 16)
    expect_equal(default, 0xa80425fb, "the fourteen that container engines give")
    dropped = output("capless", "cat /proc/self/status", {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}})
    expect_equal(int(status_line(dropped, "CapEff"), 16), 1 << 10)
    expect_equal(int(status_line(dropped, "CapBnd"), 16), 1 << 10)


@case
def no_new_privileges_and_seccomp():
    text = output("locked", "cat /proc/self/status", {"allowPrivilegeEscalation": False})
    expect_equal((status_line(text, "NoNewPrivs"), status_line(text, "Seccomp")), ("1", "2"))
    text = output("open", "cat /proc/self/status", {"seccompProfile": {"type": "Unconfined"}})
    expect_equal(status_line(text, "Seccomp"), "0")


@case
def read_only_root():
    text = output("sealed", "touch /x 2>&1; touch /tmp/x && echo written", {"readOnlyRootFilesystem": True},
                  container={"volumeMounts": [{"name": "t", "mountPath": "/tmp"}]}, volumes=[{"name": "t", "emptyDir": {}}])
    expect_match("Read-only file system\nwritten", text)


@case
def masked_paths():
    text = output("masked", "for f in /proc/kcore /proc/keys /proc/timer_list; do head -c 1 $f 2>/dev/null; done | wc -c; ls -A /sys/firmware | wc -l; "
                            "echo x 2>&1 > /proc/sys/kernel/hostname; mount -t tmpfs none /mnt 2>&1; ls /dev | tr '\\n' ' '")
    expect_match("^0\n0\n", text)
    expect_match("Read-only file system|Permission denied", text)
    expect_match("(?i)permission denied|Operation not permitted|no such file", text)
    expect("sda" not in text and " mem " not in text, text)


@case
def host_network_shares_no_writable_sysfs():
    """What the device has mounted below /sys (tracefs, debugfs) is no pod's to write."""
    place = next(p for p in ("/sys/kernel/tracing", "/sys/kernel/debug", "/sys/fs/pstore") if os.path.isdir(p))
    subprocess.run(["mount", "-t", "tmpfs", "limpet-test", place], check=True)  # in the test's own mount namespace
    try:
        text = output("nethost", f"(echo 1 > {place}/tracing_on) 2>&1; grep ' /sys' /proc/mounts", hostNetwork=True)
    finally:
        subprocess.run(["umount", place], check=True)
    expect_match("Read-only file system|nonexistent directory|Permission denied", text.splitlines()[0])
    own = " /sys/fs/cgroup tmpfs "  # version 1: made by the runtime for the container alone
    writable = [line for line in text.splitlines()[1:] if not line.split()[3].startswith("ro") and own not in line]
    expect_equal(writable, [])


@case
def privileged():
    text = output("mighty", "cat /proc/self/status; ls /dev | wc -l", {"privileged": True})
    expect_equal(status_line(text, "Seccomp"), "0")
    expect(int(status_line(text, "CapEff"), 16) & 1 << 21, "CAP_SYS_ADMIN")


@case
def own_processes():
    """Nothing of the machine is seen from inside."""
    expect_match(r"^\d\n$", output("alone", "ps -o pid | tail -n +2 | wc -l"))
    expect_match("^inner\n$", output("inner", "hostname"))


def cgroup_value(name, *files):
    """The first of these files (version 2, version 1) in the container's cgroup."""
    uid = device.pod(name)["metadata"]["uid"]
    for file in files:
        for path in glob.glob(f"/sys/fs/cgroup/**/{device.cgroup_root}/pod{uid}/*/{file}", recursive=True):
            with open(path, encoding="utf-8") as f:
                return f.read().strip()
    raise AssertionError(f"none of {files} below {device.cgroup_root}/pod{uid}")


@case
def limits_in_cgroups():
    limits = {"limits": {"cpu": "500m", "memory": "32Mi"}, "requests": {"cpu": "250m", "memory": "16Mi"}}
    device.create(pod("limited", container={"resources": limits}))
    device.wait_ready_pod("limited")
    expect_equal(device.pod("limited")["status"]["qosClass"], "Burstable")
    expect_equal(cgroup_value("limited", "memory.max", "memory.limit_in_bytes"), str(32 << 20))
    quota = cgroup_value("limited", "cpu.max", "cpu.cfs_quota_us").split()
    expect_equal(quota[0], "50000")
    weight = cgroup_value("limited", "cpu.weight", "cpu.shares")
    expect(weight in ("256", "10", "9", "39"), f"cpu weight {weight}")
    expect(cgroup_value("limited", "pids.max").isdigit(), "a limit of processes")


@case
def qos_classes():
    same = {"cpu": "100m", "memory": "16Mi"}
    device.create(pod("sure", container={"resources": {"limits": same, "requests": same}}))
    device.wait_ready_pod("sure")
    expect_match("QoS Class: +Guaranteed", kubectl("describe pod sure"))
    adjust = lambda name: int(kubectl(f"exec {name} -- cat /proc/1/oom_score_adj"))
    expect(adjust("sure") <= 0 or not lowered_allowed(), f"oom_score_adj {adjust('sure')}")


def lowered_allowed():
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="utf-8") as file:
            now = file.read()
            file.seek(0)
            file.write("-10")
            file.seek(0)
            file.write(now)
        return True
    except OSError:
        return False


def too_many_processes():
    """A fork bomb meets a limit; the device goes on. Alone, since what runs beside it is slow."""
    device.create(pod("bomb", "f() { f | f & }; f; sleep 2", restartPolicy="Never",
                      container={"resources": {"limits": {"memory": "64Mi"}}}, activeDeadlineSeconds=10))
    eventually(lambda: device.pod("bomb")["status"]["phase"] in ("Running", "Succeeded", "Failed"), 30, "it runs")
    device.create(pod("beside", "echo still here", restartPolicy="Never"))
    device.wait_status("beside", "Completed", 90)
    device.api("DELETE", "/api/v1/namespaces/default/pods/bomb?gracePeriodSeconds=1")
    device.wait_gone("bomb", 60)


run(device, last=[too_many_processes])

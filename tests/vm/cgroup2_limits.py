#!/usr/bin/env python3
# timeout: 1800
# parallel: yes
"""Control groups of version 2 alone, as every device of today has them: limits are what was asked for to the byte and
bite, an OOM kill is told as one, and systemd and limpet leave each other's groups alone."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from guest import Guest
from case import case, eventually, expect, expect_equal, expect_match, run

IMAGE = "127.0.0.1:5000/busybox:1"
# pod, what the container asks for, and what its control group says: file to content.
LIMITS = [
    ("exact", {"limits": {"cpu": "250m", "memory": "24Mi"}, "requests": {"cpu": "100m", "memory": "8Mi"}},
     {"memory.max": "25165824", "cpu.max": "25000 100000", "pids.max": "1024", "memory.oom.group": "1"}),
    ("odd", {"limits": {"cpu": "1500m", "memory": "10000001"}, "requests": {"cpu": "50m"}},
     {"memory.max": "9998336", "cpu.max": "150000 100000", "pids.max": "1024"}),  # whole pages
    ("free", {}, {"memory.max": "max", "cpu.max": "max 100000", "pids.max": "1024", "memory.oom.group": "0"}),
]

guest = Guest().start()
guest.run("systemctl enable limpetd && systemctl start limpetd", 400)
guest.fetch_kubeconfig()


def pod(name, script, resources=None, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "main", "image": IMAGE, "command": ["sh", "-c", script], "resources": resources or {}}], **spec}}


def apply(*pods):
    guest.kubectl("apply -f -", input="\n---\n".join(json.dumps(p) for p in pods))
    for one in pods:
        name = one["metadata"]["name"]
        if one["spec"].get("restartPolicy") != "Never":
            guest.kubectl(f"wait --for=condition=Ready pod/{name} --timeout=300s", 330)


def ended(name):
    """How the container of a pod that runs once ended."""
    def probe():
        status = json.loads(guest.kubectl(f"get pod {name} -o json"))["status"]
        return status["containerStatuses"][0]["state"].get("terminated")

    return eventually(probe, 300, f"pod {name} has ended", every=0.5)


def group_of(name):
    """The container's control group on the device."""
    found = json.loads(guest.kubectl(f"get pod {name} -o json"))
    container = found["status"]["containerStatuses"][0]["containerID"].split("://")[1]
    return f"/sys/fs/cgroup/limpet/pod{found['metadata']['uid']}/{container}"


def check_limits():
    for name, _, files in LIMITS:
        inside = guest.kubectl(["exec", name, "--", "sh", "-c",
                                "cd /sys/fs/cgroup; for f in " + " ".join(files) + "; do echo $f $(cat $f); done"])
        outside = guest.run(f"cd {group_of(name)}; for f in " + " ".join(files) + "; do echo $f $(cat $f); done")
        wanted = "".join(f"{file} {text}\n" for file, text in files.items())
        expect_equal(inside, wanted, f"{name}, from inside")
        expect_equal(outside, wanted, f"{name}, from outside")


@case
def a_only_version_2_is_there():
    kinds = guest.run("sed 's/.* - //' /proc/self/mountinfo | cut -d ' ' -f 1 | grep cgroup | sort | uniq -c").split()
    expect_equal(kinds, ["1", "cgroup2"])
    # The Node comes a moment after the API is ready.
    eventually(lambda: "crun" in guest.kubectl("get nodes -o wide"), 60, "the Node says that its runtime is crun")


@case
def b_limits_are_as_asked():
    apply(*[pod(name, "exec sleep 100000", resources) for name, resources, _ in LIMITS])
    check_limits()
    # The pod's own group holds what its containers may use together; its weight is that of 100m: 102 shares.
    expect_equal(guest.run(f"cd {group_of('exact')}/.. && cat memory.max cpu.max cpu.weight"),
                 "25165824\n25000 100000\n4\n")


@case
def c_groups_have_one_owner():
    """Containers and shims are outside of the service's group, which holds the daemon alone."""
    daemon = guest.run("cat /proc/$(systemctl show limpetd -p MainPID --value)/cgroup").strip()
    expect_equal(daemon, "0::/system.slice/limpetd.service")
    expect_equal(guest.run("wc -l </sys/fs/cgroup/system.slice/limpetd.service/cgroup.procs").strip(), "1")
    for name, _, _ in LIMITS:
        expect_equal(guest.kubectl(f"exec {name} -- cat /proc/self/cgroup").strip(), "0::/")
        expect_equal(guest.run(f"wc -l <{group_of(name)}/cgroup.procs").strip(), "1")
    shims = guest.run("for pid in $(cat /sys/fs/cgroup/limpet/shims/cgroup.procs); do cat /proc/$pid/comm; done").split()
    expect_equal(shims, ["limpet-shim"] * len(LIMITS))


@case
def d_systemd_keeps_its_hands_off():
    """It sets the controllers of the root again at every change of its units: those of the pods stay."""
    guest.run("systemctl daemon-reload", 300)
    guest.run("systemctl daemon-reexec", 300)
    guest.run("""mkdir -p /run/systemd/system
        printf '[Service]\\nCPUQuota=50%%\\nIOWeight=50\\nAllowedCPUs=0\\nExecStart=/bin/true\\nType=oneshot\\n' \
          >/run/systemd/system/other.service
        systemctl daemon-reload; systemctl start other; systemctl stop other; rm /run/systemd/system/other.service
        systemctl daemon-reload; systemctl restart limpetd""", 600)
    check_limits()
    apply(pod("later", "exec sleep 100000", LIMITS[0][1]))
    expect_equal(guest.run(f"cat {group_of('later')}/cpu.max").strip(), "25000 100000")
    guest.kubectl("delete pod later --timeout=120s", 150)


@case
def e_cpu_is_held_back():
    apply(pod("busy", "while true; do true; done", {"limits": {"cpu": "200m"}}))
    stat = guest.eventually(f"grep -q 'nr_throttled [1-9][0-9]' {group_of('busy')}/cpu.stat && cat {group_of('busy')}/cpu.stat")
    number = {key: int(value) for key, value in (line.split() for line in stat.splitlines())}
    # 20 ms in each period of 100 ms, and what a tick of the kernel may overrun.
    share = number["usage_usec"] / number["nr_periods"] / 100000
    expect(share < 0.26, f"200m, and it used {share:.3f} of a processor: {stat}")
    guest.kubectl("delete pod busy --timeout=120s", 150)


@case
def f_out_of_memory_is_told():
    limit = {"limits": {"memory": "12Mi"}}
    apply(pod("first", "exec tail /dev/zero", limit, restartPolicy="Never"),
          # Not the first process of the container: all of it ends, as with Kubernetes on version 2.
          pod("child", "tail /dev/zero & wait; sleep 1000", limit, restartPolicy="Never"))
    for name in ("first", "child"):
        how = ended(name)
        expect_equal((how["reason"], how["exitCode"]), ("OOMKilled", 137), name)
    expect_match("OOMKilled", guest.kubectl("get pods"))
    # It was the group's limit, not the device's memory: the rest of the device did not notice.
    expect_match("Memory cgroup out of memory", guest.run("dmesg"))
    expect_equal(guest.run("dmesg | grep -c 'Out of memory:' || true").strip(), "0")
    guest.kubectl("delete pod first child --timeout=120s", 150)


@case
def g_usage_is_measured():
    """Read from files that version 1 has under other names."""
    text = guest.kubectl("get --raw /metrics")
    found = {name: float(value) for name, value in
             re.findall(r'^container_memory_working_set_bytes\{[^}]*pod="(\w+)"[^}]*\} ([\d.e+]+)', text, re.MULTILINE)}
    for name, _, _ in LIMITS:
        expect(found.get(name, 0) > 4096, f"working set of {name}: {found}")


@case
def h_nothing_is_left():
    guest.kubectl("delete pod --all --timeout=200s", 220)
    guest.eventually("[ -z \"$(find /sys/fs/cgroup/limpet -name 'pod*')\" ] && echo gone", 60)
    expect_equal(guest.run("cat /sys/fs/cgroup/limpet/shims/cgroup.procs").strip(), "")


run(guest, at_once=1)

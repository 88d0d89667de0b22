#!/usr/bin/env python3
# timeout: 2400
# parallel: yes
"""The plug pulled, and a clean reboot, of a device with no network and no registry: every pod comes back by itself, and
when the network is there again, all of it is reached from outside."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from guest import Guest
from case import case, eventually, expect, expect_equal, expect_match, run

IMAGE = "127.0.0.1:5000/busybox:1"
NAMES = ["boots", "configured", "hosted", "plain"]

guest = Guest().start()
guest.run("systemctl enable limpetd && systemctl start limpetd", 400)
guest.fetch_kubeconfig()


def pod(name, script, container=None, **spec):
    main = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script], **(container or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 2, "containers": [main], **spec}}


OBJECTS = [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"color": "blue"}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"password": "hold"}},
    pod("plain", "echo up; exec sleep 100000"),
    pod("configured", "cat /s/password; echo $COLOR; exec sleep 100000",
        {"env": [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}}],
         "volumeMounts": [{"name": "s", "mountPath": "/s"}]}, volumes=[{"name": "s", "secret": {"secretName": "keys"}}]),
    pod("boots", "echo x >>/data/boots; sync /data/boots; wc -l </data/boots; exec sleep 100000",
        {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}, volumes=[{"name": "d", "emptyDir": {}}]),
    pod("hosted", "exec sleep 100000", hostNetwork=True),
    pod("finished", "exit 0", restartPolicy="Never"),
]


state = {}


def states():
    """What the device itself says, with no network: phase, restarts, start and readiness of each pod's container."""
    return {p["pod"]: (p["phase"], c["restarts"], c["since"], c["ready"])
            for p in json.loads(guest.run("limpet ps -o json")) for c in p["containers"]}


def back_again(before, boot):
    """With not one command that changes anything."""
    def probe():
        now = states()
        return all(now[n][3] and now[n][2] != before[n][2] for n in NAMES) and now

    now = eventually(probe, 400, f"all pods run again after boot {boot}", every=1)
    for name in NAMES:
        expect_equal(now[name][:2], ("Running", boot - 1), name)
    expect_equal(now["finished"], before["finished"])
    expect_equal(guest.run("limpet logs configured"), "holdblue\n")
    expect_equal(guest.run("limpet logs boots").strip(), str(boot), "an emptyDir on disk outlives a reboot")
    expect_equal(guest.run("limpet exec plain -- echo up"), "up\n")
    expect_equal(guest.run("systemctl show limpetd -p NRestarts --value").strip(), "0")
    if not guest.network:
        expect_equal(guest.run("ip -o -4 route show default").strip(), "")
    # Nothing of the boot before is left lying about.
    expect_equal(guest.run("ls /sys/fs/cgroup/limpet | grep -c '^pod'").strip(), str(len(NAMES)))
    expect_equal(guest.run("ls /run/limpet/pods | wc -l").strip(), str(len(NAMES)))
    return now


@case
def the_plug_is_pulled_then_a_clean_reboot():
    guest.kubectl("apply -f -", input="\n---\n".join(json.dumps(o) for o in OBJECTS))
    for name in NAMES:
        guest.kubectl(f"wait --for=condition=Ready pod/{name} --timeout=300s", 330)
    guest.kubectl("wait --for=jsonpath={.status.phase}=Succeeded pod/finished --timeout=300s", 330)
    before = states()

    guest.pull_the_plug()
    guest.network = False
    guest.start()
    before = back_again(before, 2)

    words = guest.reboot()
    # The shims see to it that containers end; else systemd would wait for its 90 seconds first.
    expect_match("reboot: (Restarting system|machine restart)", words)
    expect(not re.search(r"Sending SIGKILL to PID.*\((limpet-shim|sleep)\)", words), f"containers hold up systemd: {words}")
    state["before"] = back_again(before, 3)


@case
def with_the_network_back_it_is_all_there():
    guest.pull_the_plug()
    guest.network = True
    guest.start()
    eventually(lambda: guest.kubectl("get --raw /readyz") == "ok", 600, "the API answers from outside", every=1)
    for name in NAMES:
        guest.kubectl(f"wait --for=condition=Ready pod/{name} --timeout=300s", 330)
    back_again(state["before"], 4)
    expect_match(r"^finished\s+0/1\s+Completed\s+0 ", guest.kubectl("get pods"))


run(guest, at_once=1)

#!/usr/bin/env python3
# timeout: 180
"""What others take away of the pod network comes back; keys of the configuration about network and node do what they say."""
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, run
from limpet import pod, pod_device


def sh(*lines):
    for line in lines:
        subprocess.run(line.split(), check=True)


sh("ip link add uplink mtu 1400 type veth peer name far", "ip link set far up", "ip link set uplink up",
   "ip address add 192.168.77.5/24 dev uplink", "ip route add default via 192.168.77.1")
device = pod_device()
WEB = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"


def fetch(url):
    done = subprocess.run(["curl", "-s", "--max-time", "5", "--noproxy", "*", url], check=False, stdout=subprocess.PIPE, text=True)
    return done.stdout if done.returncode == 0 else None


def link_exists(name):
    return subprocess.run(["ip", "link", "show", name], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def taints():
    return sorted(f"{t['key']}={t.get('value', '')}:{t['effect']}" for t in device.api("GET", "/api/v1/nodes/device")["spec"].get("taints", []))


@case
def links_have_the_uplinks_mtu():
    device.create(pod("mtu"))
    device.wait_ready_pod("mtu")
    expect_equal(device.kubectl("exec mtu -- cat /sys/class/net/eth0/mtu").strip(), "1400")


def log_tells(pattern):
    with open(device.log_file, encoding="utf-8") as file:
        return re.search(pattern, file.read())


@case
def others_take_things_away():
    device.create(pod("published", WEB, container={"ports": [{"containerPort": 8080, "hostPort": 30080}]}))
    device.wait_ready_pod("published")
    answers = lambda: fetch("http://192.168.77.5:30080/") == "published\n"
    eventually(answers, 15, "the host port", every=0.3)
    for damage, told in (("nft flush ruleset", "table limpet"), ("ip link delete limpet0", "bridge limpet0")):
        sh(damage)
        eventually(answers, 20, f"the host port after {damage}", every=0.3)
        # Told when all is right, which is a moment after the port answers: the next damage waits for it.
        eventually(lambda: log_tells("changed by another program and is set right again .*" + told), 20, f"the log after {damage}")
    device.create(pod("after", WEB))
    there = device.wait_ready_pod("after")["status"]["podIP"]
    eventually(lambda: fetch(f"http://{there}:8080/") == "after\n", 15, "a pod made afterwards", every=0.3)


@case
def taints_follow_the_configuration():
    device.configure(node={"taints": ["site=roof:PreferNoSchedule"], "labels": {"zone": "shore"}})
    device.process.send_signal(signal.SIGHUP)
    eventually(lambda: taints() == ["site=roof:PreferNoSchedule"], 10, "the taint that came")
    device.kubectl("taint node device theirs=1:PreferNoSchedule")
    device.configure()
    device.process.send_signal(signal.SIGHUP)
    eventually(lambda: taints() == ["theirs=1:PreferNoSchedule"], 10, "the taint that went, and the one that stays")
    expect("zone" not in device.api("GET", "/api/v1/nodes/device")["metadata"]["labels"], "the label went too")


@case
def no_pod_network():
    for name in ("mtu", "published", "after"):
        device.api("DELETE", f"/api/v1/namespaces/default/pods/{name}", check=False)
    for name in ("mtu", "published", "after"):
        device.wait_gone(name)
    device.stop()
    device.configure(network={"mode": "none"})
    device.start_daemon()
    tables = lambda: subprocess.run(["nft", "list", "tables"], check=True, stdout=subprocess.PIPE, text=True).stdout
    eventually(lambda: not link_exists("limpet0") and "limpet" not in tables(), 15, "bridge and rules of before go")
    device.create(pod("waits"), pod("onhost", hostNetwork=True))
    device.wait_ready_pod("onhost")
    eventually(lambda: any("network.mode is none" in e for e in device.events("waits")), 15, "the reason")
    expect(not link_exists("limpet0"), "there is still no bridge")


run(device, at_once=1)

#!/usr/bin/env python3
# timeout: 120
"""The device's address is the source of its default route, also when that comes late or changes."""
import os
import subprocess
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect_equal, expect_match, run
from limpet import pod, pod_device


def ip(*lines):
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True)


# A bridge of another container engine is there from the start, the uplink is not.
ip("link add docker0 type bridge", "address add 172.17.0.1/16 dev docker0", "link set docker0 up")
device = pod_device()


def internal_ip():
    addresses = device.api("GET", "/api/v1/nodes/device")["status"]["addresses"]
    return [a["address"] for a in addresses if a["type"] == "InternalIP"]


def host_ip(name):
    return device.pod(name)["status"].get("hostIP")


@case
def an_uplink_comes_and_changes():
    expect_equal(eventually(internal_ip, 10, "the Node has an address"), ["127.0.0.1"])
    device.create(pod("early"), pod("onhost", hostNetwork=True))
    device.wait_ready_pod("early")
    device.wait_ready_pod("onhost")
    expect_equal(host_ip("early"), "127.0.0.1")
    ip("link add uplink mtu 1400 type veth peer name far", "link set far up", "link set uplink up", "address add 192.168.77.5/24 dev uplink",
       "route add default via 192.168.77.1")
    eventually(lambda: internal_ip() == ["192.168.77.5"], 15, "the Node has the address that came")
    eventually(lambda: host_ip("early") == "192.168.77.5", 10, "the pod that ran before has it")
    eventually(lambda: device.pod("onhost")["status"]["podIP"] == "192.168.77.5", 10, "a pod of the host's network has it")
    expect_match("192.168.77.5", device.kubectl("get node -o wide"))
    ip("address add 192.168.77.6/24 dev uplink", "route replace default via 192.168.77.1 src 192.168.77.6")
    eventually(lambda: internal_ip() == ["192.168.77.6"], 15, "the Node follows the route's source")
    eventually(lambda: host_ip("early") == "192.168.77.6", 10, "and the pod")


run(device, at_once=1)

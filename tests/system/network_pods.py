#!/usr/bin/env python3
# timeout: 200
"""Addresses, pod to pod, pod to device and back, out through the device's address, host ports, the host's network."""
import os
import subprocess
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import pod, pod_device

# The world: a machine "outside" on a link of its own, where it sees who calls.
OUTSIDE = ["ip", "netns", "exec", "outside"]


def make_world():
    for line in ("ip netns add outside", "ip link add uplink type veth peer name eth0 netns outside",
                 "ip address add 192.0.2.1/24 dev uplink", "ip address add 198.51.100.1/32 dev uplink", "ip link set uplink up", "ip route add default via 192.0.2.2",
                 "ip -n outside address add 192.0.2.2/24 dev eth0", "ip -n outside link set eth0 up", "ip -n outside link set lo up",
                 "ip -n outside route add 198.51.100.1/32 via 192.0.2.1"):
        subprocess.run(line.split(), check=True)


make_world()
device = pod_device(node={"address": "192.0.2.1"})
kubectl = device.kubectl
WEB = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"
device.create(pod("web", WEB, container={"ports": [{"containerPort": 8080}]}), pod("other", WEB),
              pod("published", WEB, container={"ports": [{"containerPort": 8080, "hostPort": 30080},
                                                         {"containerPort": 8080, "hostPort": 30081, "hostIP": "198.51.100.1"}]}),
              pod("onhost", "exec httpd -f -p 18080 -h /var/www", hostNetwork=True))


def address(name):
    return device.wait_ready_pod(name)["status"]["podIP"]


def fetch(url, prefix=()):
    done = subprocess.run([*prefix, "curl", "-s", "--max-time", "5", "--noproxy", "*", url], check=False, stdout=subprocess.PIPE, text=True)
    return done.stdout if done.returncode == 0 else None


def from_pod(name, host, port):
    """The last line of a page, fetched inside of a pod; without wget, which a static busybox of Debian does not survive."""
    script = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {host} {port}"
    return kubectl(["exec", name, "--", "sh", "-c", script]).strip().split("\n")[-1]


@case
def pod_to_pod():
    device.wait_ready_pod("other")
    expect_equal(eventually(lambda: from_pod("other", address("web"), 8080), 15, every=0.5), "web")
    expect(address("web") != address("other"), "addresses are distinct")


@case
def device_to_pod_and_back():
    expect_equal(eventually(lambda: fetch(f"http://{address('web')}:8080/"), 15, every=0.3), "web\n")
    address("other")
    address("onhost")
    expect_equal(eventually(lambda: from_pod("other", "192.0.2.1", 18080), 15, every=0.5), "limpet holds on")


@case
def pod_to_the_world():
    """The world answers the device's address: pods are hidden behind it."""
    script = "echo HTTP/1.0 200 OK; echo; echo $SOCAT_PEERADDR"
    server = subprocess.Popen(OUTSIDE + ["socat", "TCP-LISTEN:7777,reuseaddr,fork", f"SYSTEM:{script}"])
    try:
        address("web")
        said = eventually(lambda: from_pod("web", "192.0.2.2", 7777), 15, every=0.5)
        expect_equal(said, "192.0.2.1")
    finally:
        server.kill()
        server.wait()


@case
def host_ports():
    address("published")
    for prefix in (OUTSIDE, []):
        expect_equal(eventually(lambda: fetch("http://192.0.2.1:30080/", prefix), 15, f"host port from {prefix}", every=0.3), "published\n")
    expect_equal(eventually(lambda: fetch("http://127.0.0.1:30080/"), 15, "host port on loopback", every=0.3), "published\n")
    expect_equal(fetch("http://127.0.0.1:30081/"), None, "the port of one address on loopback")
    expect_equal(fetch("http://198.51.100.1:30081/", OUTSIDE), "published\n", "the port of one address")
    expect_equal(fetch("http://192.0.2.1:30081/", OUTSIDE), None, "the port of one address on another")


@case
def loopback_of_the_device_stays_its_own():
    """A pod that may do anything to its own network reaches no service that listens on the device's 127.0.0.1."""
    server = subprocess.Popen(["socat", "TCP-LISTEN:7979,bind=127.0.0.1,reuseaddr,fork", "SYSTEM:echo secret"])
    try:
        script = ("echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet && ip address delete 127.0.0.1/8 dev lo && "
                  "ip route add 127.0.0.1/32 via 10.42.0.1 dev eth0 && exec sleep 100000")
        device.create(pod("attacker", script, container={"securityContext": {"privileged": True}}))
        address("attacker")
        expect_equal(eventually(lambda: kubectl("exec attacker -- ip route get 127.0.0.1").split()[2], 10, "its way"), "10.42.0.1")
        here = subprocess.run(["socat", "-u", "TCP:127.0.0.1:7979", "-"], check=True, stdout=subprocess.PIPE, text=True)
        expect_equal(here.stdout, "secret\n")
        there = kubectl(["exec", "attacker", "--", "sh", "-c", "nc -w 3 127.0.0.1 7979 </dev/null; true"])
        expect_equal(there, "", "what the pod reads")
    finally:
        server.kill()
        server.wait()


@case
def host_port_is_taken():
    address("published")
    device.create(pod("second", WEB, container={"ports": [{"containerPort": 8080, "hostPort": 30080}]}))
    eventually(lambda: any("didn't have free ports for the requested pod ports" in e for e in device.events("second")), 10, "the reason")


@case
def host_network():
    expect_equal(address("onhost"), "192.0.2.1")
    expect_equal(eventually(lambda: fetch("http://192.0.2.1:18080/", OUTSIDE), 10, every=0.3), "limpet holds on\n")
    expect_match("uplink", kubectl("exec onhost -- ip link"))


@case
def own_network():
    address("web")
    links = kubectl("exec web -- ip -o link")
    expect_equal(len(links.splitlines()), 2, links)
    expect_match(r"default via 10\.42\.0\.1 dev eth0", kubectl("exec web -- ip route"))
    expect_match("eth0", links)


@case
def addresses_are_not_reused_at_once():
    device.create(pod("first"))
    was = address("first")
    device.api("DELETE", "/api/v1/namespaces/default/pods/first")
    device.wait_gone("first")
    device.create(pod("next"))
    expect(address("next") != was, f"{was} again")


@case
def rules_stay_in_their_table():
    address("published")
    tables = subprocess.run(["nft", "list", "tables"], check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")
    expect(all("limpet" in t for t in tables if t), f"tables of others: {tables}")


run(device, at_once=3)

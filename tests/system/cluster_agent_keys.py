#!/usr/bin/env python3
# timeout: 600
"""Agents go on being of their cluster: their certificate is renewed, when it is asked for and before it ends; they follow
another authority with their pods running, also when they are away for a part of it; and one that was left behind joins again
as who it was."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from cluster import Cluster
from limpet import SCRATCH, container_status, is_ready, pod

DAY = 86400
CA_IN_POD = "/trusted/ca.crt"
SHIM = os.path.join(SCRATCH, "clock_shim.so")
subprocess.run(["c++", "-shared", "-fPIC", "-O1", "-x", "c++", os.environ["LIMPET_SOURCE"] + "/tests/lib/clock_shim.c",
                "-o", SHIM], check=True)

cluster = Cluster(2, registry=True)
agent = cluster.add("field-1", registry=True)
other = cluster.add("field-2")
cluster.start(2)
one, two = servers = cluster.devices[:2]


def pki(device, name):
    with open(f"{device.data_dir}/pki/{name}", encoding="utf-8") as file:
        return file.read()


def log(device):
    with open(device.log_file, encoding="utf-8", errors="replace") as file:
        return file.read()


def openssl(device, *words):
    return subprocess.run(["openssl", "x509", "-in", f"{device.data_dir}/pki/node.crt", "-noout", *words], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def issued_by(device, ca_pem):
    file = f"{device.home}/ca-to-try.crt"
    with open(file, "w", encoding="utf-8") as out:
        out.write(ca_pem)
    return subprocess.run(["openssl", "verify", "-CAfile", file, f"{device.data_dir}/pki/node.crt"], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE).returncode == 0


def cert(device):
    return json.loads(cluster.limpet(device, "cert status -o json"))


def plain(text):
    return re.sub(r"\s+", " ", text)


def ready(name):
    """The Node is there, and its lease is kept."""
    node = one.api("GET", f"/api/v1/nodes/{name}")
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])


def settled_on_another(before, devices):
    """All go by one authority that is not that of before, with certificates of it."""
    found = {pki(d, "ca.crt") for d in devices}
    pem = found.pop()
    return not found and pem != before and pem.count("BEGIN") == 1 and all(issued_by(d, pem) for d in devices)


def is_reached(word):
    for device in servers:
        expect_match("hello from the field", device.kubectl("logs web"))
        expect_equal(device.kubectl(f"exec web -- echo {word}").strip(), word)


@case
def agents_join():
    for device in (agent, other):
        device.configure(role="agent", join={"url": one.url, "token": cluster.token(role="agent")})
    agent.registry.start().wait().push()
    for device in (agent, other):
        device.start_daemon(wait=False)
        eventually(lambda name=device.name: ready(name), 60, f"{device.name} is ready")
    one.create(pod("web", "echo hello from the field; exec sleep 100000", nodeName="field-1",
                   container={"volumeMounts": [{"name": "trusted", "mountPath": "/trusted"}]},
                   volumes=[{"name": "trusted", "configMap": {"name": "kube-root-ca.crt"}}]))
    one.wait_ready_pod("web", 90)
    is_reached("first")


@case
def one_that_asks_gets_another_certificate():
    before, key = openssl(agent, "-serial"), pki(agent, "node.key")
    expect_match("field-1 has a new device certificate", plain(cluster.limpet(agent, "cert rotate")))
    expect(openssl(agent, "-serial") != before, "another certificate")
    expect_equal(pki(agent, "node.key"), key, "the key stays")
    expect(issued_by(agent, pki(one, "ca.crt")), "of the same authority")
    text = plain(cluster.limpet(agent, "cert status"))
    expect_match(r"device: field-1 certificate: until 20\d\d-.* \(36[45] days\), of limpet-ca-", text)
    expect("problem" not in text, text)
    expect_match("run limpet cert rotate --ca on a server", plain(cluster.limpet(agent, "cert rotate --ca", status=1)))
    expect_match(r"device until 20\d\d", plain(cluster.limpet(agent, "status")))
    is_reached("renewed")


@case
def one_that_is_cut_off_says_so():
    cluster.cut(agent, "both")
    text = plain(cluster.limpet(agent, "cert rotate", status=1))
    expect_match("the certificate is not renewed: .*The present one ends on 20", text)
    cluster.heal()
    eventually(lambda: "has a new device certificate" in plain(agent.run(
        f"limpet --config {agent.config_file} cert rotate")[1]), 60, "it is, when it is back")
    is_reached("healed")


@case
def they_follow_another_authority():
    old, process, was = pki(one, "ca.crt"), agent.process.pid, container_status(one.pod("web"))
    cluster.limpet(two, "cert rotate --ca")
    eventually(lambda: settled_on_another(old, servers + [agent, other]), 120, "all devices go by another authority")
    eventually(lambda: json.loads(cluster.limpet(one, "cert status -o json"))["step"] == "settled", 20, "and it is over")
    expect_equal(agent.process.pid, process, "the daemon was not restarted")
    expect_equal(container_status(one.pod("web"))["containerID"], was["containerID"], "nor was the pod")
    new = pki(one, "ca.crt")
    is_reached("followed")
    expect(ready("field-1") and ready("field-2"), "both are ready")
    eventually(lambda: one.kubectl(f"exec web -- cat {CA_IN_POD}") == new, 180, "the pod is told", 1)
    # New connections on both sides: nothing lives on what was open before.
    for device in servers:
        device.stop()
        device.start_daemon()
    eventually(lambda: one.kubectl("logs web").startswith("hello"), 60, "logs by new connections")
    eventually(lambda: two.kubectl("exec web -- echo new").strip() == "new", 60, "exec by new connections")
    agent.stop()
    agent.start_daemon(wait=False)
    eventually(lambda: one.kubectl("exec web -- echo back").strip() == "back", 60, "after a restart of the agent, too")
    expect_equal(cert(agent)["problem"], "")


@case
def one_that_is_away_for_a_part_of_it_is_waited_for():
    old = pki(one, "ca.crt")
    other.stop()
    leader = cluster.leader(servers)
    cluster.limpet(leader, "cert rotate --ca --patience 10m")
    waits = lambda: json.loads(cluster.limpet(leader, "cert status -o json"))
    eventually(lambda: waits()["waitsFor"] == ["field-2"], 60, "it alone is waited for")
    expect_equal(waits()["step"], "trusting")
    expect_equal(len(cert(agent)["authorities"]), 2, "the other one trusts both meanwhile")
    is_reached("meanwhile")
    other.start_daemon(wait=False)
    eventually(lambda: settled_on_another(old, servers + [agent, other]), 120, "it came in time")
    eventually(lambda: ready("field-2"), 60, "and is ready")


@case
def one_that_was_away_all_the_time_is_told_to_join_again():
    old, uid = pki(one, "ca.crt"), one.api("GET", "/api/v1/nodes/field-2")["metadata"]["uid"]
    other.stop()
    leader = cluster.leader(servers)
    cluster.limpet(leader, "cert rotate --ca --patience 15s")
    eventually(lambda: settled_on_another(old, servers + [agent]), 120, "nobody is waited for any more")
    expect_match("waited for in vain.*device=field-2", log(leader))
    is_reached("without")
    other.start_daemon(wait=False)
    eventually(lambda: "join again" in cert(other)["problem"], 60, "it knows what it is")
    expect_match("this device is out of its cluster.*limpet token create --role agent", log(other))
    expect_match("join again", plain(cluster.limpet(other, "cert rotate", status=1)))
    expect_match("problem: .*limpet join URL TOKEN", plain(cluster.limpet(other, "cert status")))
    # It comes back as who it was: nobody had to remove it.
    cluster.limpet(other, f"join {one.url} {cluster.token(role='agent')}")
    eventually(lambda: issued_by(other, pki(one, "ca.crt")), 60, "it has a certificate again")
    eventually(lambda: ready("field-2"), 90, "and is ready")
    expect_equal(one.api("GET", "/api/v1/nodes/field-2")["metadata"]["uid"], uid, "the Node is the same")


@case
def one_whose_certificate_is_due_renews_it_by_itself():
    before = openssl(other, "-serial")
    renewed = lambda: sum(log(d).count("the certificate of an agent is renewed device=field-2") for d in servers)
    count = renewed()
    other.stop()
    offset, fifo = f"{other.home}/offset", f"{other.home}/clock-set"
    with open(offset, "w", encoding="ascii") as file:
        file.write(str(300 * DAY))  # of the 365 that it is good for
    os.mkfifo(fifo)
    other.start_daemon(wait=False, environment={"LD_PRELOAD": SHIM, "CLOCK_OFFSET_FILE": offset, "CLOCK_SET_FIFO": fifo})
    eventually(lambda: openssl(other, "-serial") != before, 60, "another certificate")
    # By the servers' clock it is no longer good than the first, and due at once by its own: that is no reason to go on.
    expect_match("the clocks of this device and of the servers differ", log(other))
    eventually(lambda: ready("field-2"), 60, "it is ready")
    expect_equal(renewed() - count, 1, "certificates")
    other.stop()
    other.start_daemon(wait=False)
    eventually(lambda: ready("field-2"), 60, "it is ready with the right time, too")


@case
def one_that_is_revoked_gets_none():
    before = openssl(other, "-serial")
    cluster.limpet(cluster.leader(servers), "node revoke field-2")
    text = plain(cluster.limpet(other, "cert rotate", status=1))
    expect_match("field-2 was (removed from this cluster|revoked)", text)
    expect_equal(openssl(other, "-serial"), before, "it keeps what it had")
    expect(is_ready(one.pod("web")), "the others go on")


run(cluster, at_once=1)

#!/usr/bin/env python3
# timeout: 400
"""The keys of a cluster are replaced while it works: certificates of one server, the authority of all, and everything
that a revoked server knew; and a server that did not begin the cluster lets a device in."""
import json
import os
import socket
import ssl
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from cluster import Cluster
from limpet import config_map

cluster = Cluster(3)
four, five = cluster.add("edge-4"), cluster.add("edge-5")
cluster.start(3)
cluster.wait_voters(3)
one, two, three = servers = cluster.devices[:3]
one.create(config_map("kept", a="b"))


def pki(device, name):
    with open(f"{device.data_dir}/pki/{name}", encoding="utf-8") as file:
        return file.read()


def served(device, ca_pem=None):
    """The certificate that the API shows; with an authority, only if that one signed it."""
    context = ssl.create_default_context(cadata=ca_pem) if ca_pem else ssl._create_unverified_context()
    with socket.create_connection((device.address, 6443), timeout=10) as raw:
        with context.wrap_socket(raw, server_hostname=device.address) as stream:
            return stream.getpeercert(binary_form=True)


def believed(device, ca_pem):
    try:
        return served(device, ca_pem) is not None
    except ssl.SSLCertVerificationError:
        return False


def status_with(device, certificate, key, ca_pem):
    """What the API answers to whoever shows this certificate; 0: it is not listened to."""
    context = ssl.create_default_context(cadata=ca_pem)
    context.load_cert_chain(certificate, key)
    try:
        with socket.create_connection((device.address, 6443), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname=device.address) as stream:
                stream.sendall(b"GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                head = stream.recv(64)
                return int(head.split()[1]) if head else 0
    except (ssl.SSLError, ConnectionError):
        return 0


class Watch:
    """Of ConfigMaps, open under this certificate until somebody ends it."""

    def __init__(self, device, certificate, key, ca_pem):
        context = ssl.create_default_context(cadata=ca_pem)
        context.load_cert_chain(certificate, key)
        raw = socket.create_connection((device.address, 6443), timeout=10)
        self.stream = context.wrap_socket(raw, server_hostname=device.address)
        self.stream.sendall(b"GET /api/v1/namespaces/default/configmaps?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.got = b""
        while b"ADDED" not in self.got:
            self.got += self.stream.recv(65536)

    def is_over(self):
        self.stream.settimeout(0.05)
        try:
            while (more := self.stream.recv(65536)):
                self.got += more
        except TimeoutError:
            return False
        except (ssl.SSLError, ConnectionError):
            pass
        return True


def step(device=one):
    return json.loads(cluster.limpet(device, "cert status -o json"))["step"]


def all_agree(devices, before):
    """On one authority, which is not that of before; its certificate, when they do."""
    found = {pki(d, "ca.crt") for d in devices}
    pem = found.pop()
    good = not found and pem != before and pem.count("BEGIN") == 1
    return pem if good and all(believed(d, pem) and not believed(d, before) for d in devices) else None


def works(name, devices):
    devices[0].create(config_map(name, a="b"))
    for device in devices:
        expect(name in device.names("/api/v1/namespaces/default/configmaps"), f"{device.name} has {name}")
        expect(cluster.status(device)["health"]["ok"], cluster.status(device)["health"]["message"])


@case
def a_server_gets_new_certificates_when_asked():
    before, node_key, admin = served(two), pki(two, "node.key"), pki(two, "admin.crt")
    expect_match("edge-2 has a new", cluster.limpet(two, "cert rotate").replace("\n", " "))
    eventually(lambda: served(two) != before, 10, "another certificate is served")
    expect(believed(two, pki(one, "ca.crt")), "of the same authority")
    expect_equal(pki(two, "node.key"), node_key, "the device key stays")
    expect(pki(two, "admin.crt") != admin, "the admin's is another")
    expect_match("edge-2", two.kubectl("get nodes"))
    works("renewed", servers)


@case
def another_authority_takes_the_place_of_the_first():
    old, key = pki(one, "ca.crt"), pki(one, "ca.key")
    expect_equal(step(), "settled")
    for name in ("admin.crt", "admin.key"):
        with open(f"{one.home}/old-{name}", "w", encoding="utf-8") as file:
            file.write(pki(one, name))
    mine = f"{one.home}/old-admin.crt", f"{one.home}/old-admin.key"
    expect_equal(status_with(one, *mine, old), 200)
    watches = [Watch(device, *mine, old) for device in servers]
    cluster.limpet(two, "cert rotate --ca")
    expect_match("being replaced", cluster.limpet(three, "cert rotate --ca", status=1))
    eventually(lambda: step() == "settled" and all_agree(servers, old), 40, "all servers go by the new authority")
    new = pki(one, "ca.crt")
    for device in servers:
        expect(pki(device, "ca.key") != key, "its key is another")
        expect_equal(status_with(device, *mine, new) in (0, 401), True, "the old admin is nobody")
        expect_match("edge-3", device.kubectl("get nodes"))
    for device, watch in zip(servers, watches):
        eventually(watch.is_over, 10, f"what the old admin had open at {device.name} has ended")
        expect(b"HTTP/1.1 200" in watch.got, "it was let in before")
    works("reissued", servers)
    for device in servers:  # new connections, too
        device.stop()
        device.start_daemon()
        eventually(lambda: cluster.status(device)["health"]["ok"], 20, f"{device.name} is back")
    works("restarted", servers)
    eventually(lambda: one.api("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt")["data"]["ca.crt"] == new, 20,
               "pods are told")


@case
def a_server_that_is_away_is_waited_for():
    old = pki(one, "ca.crt")
    leader = cluster.leader()
    away = next(d for d in servers if d is not leader)
    away.stop()
    there = [d for d in servers if d is not away]
    cluster.limpet(leader, "cert rotate --ca --patience 60s")
    eventually(lambda: json.loads(cluster.limpet(leader, "cert status -o json"))["waitsFor"] == [away.name], 20, "it is waited for")
    expect_equal(step(leader), "trusting")
    away.start_daemon()
    eventually(lambda: step(leader) == "settled" and all_agree(servers, old), 60, "it came in time")
    works("waited", there + [away])


@case
def a_revoked_server_knows_nothing_of_use():
    cluster.join(four)
    before, signing = pki(one, "ca.crt"), pki(one, "sa.key")
    leader = cluster.leader(servers)
    cluster.limpet(leader, "node revoke edge-4")
    eventually(lambda: step(leader) == "settled" and all_agree(servers, before), 60, "another authority")
    eventually(lambda: len({pki(d, "sa.key") for d in servers}) == 1 and pki(one, "sa.key") != signing, 30,
               "another key signs tokens")
    expect_equal(pki(four, "ca.crt").count(pki(one, "ca.crt").strip()), 0, "edge-4 was not told of it")
    expect_equal(status_with(one, f"{four.data_dir}/pki/admin.crt", f"{four.data_dir}/pki/admin.key",
                             pki(one, "ca.crt")) in (0, 401), True, "its admin is nobody")
    works("revoked", servers)


@case
def another_server_than_the_first_lets_a_device_in():
    one.kill()
    rest = [two, three]
    leader = eventually(lambda: next((d for d in rest if cluster.leader(rest) is d), None), 20, "one of them leads")
    token = cluster.limpet(leader, "token create --role server").split()[-1]
    five.configure(raft={"profile": cluster.profile}, join={"url": rest[0].url, "token": token})
    five.start()
    eventually(lambda: cluster.member("edge-5", leader), 30, "edge-5 is a member")
    expect("kept" in five.names("/api/v1/namespaces/default/configmaps"), "it has what there is")
    expect(pki(five, "ca.key") == pki(two, "ca.key"), "it can let devices in as well")


run(cluster, at_once=1)

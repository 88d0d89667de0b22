#!/usr/bin/env python3
# timeout: 300
"""Servers whose addresses change are followed: a follower, the leader, two of three at once, of which each can reach only the
one that stays, and all of them, who find each other by their DNS names (node.dnsName). A write that went to the leader on a
connection that is dead without a word ends all the same."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, run
from cluster import Cluster
from limpet import config_map

# The names are resolved by a file that the devices share, as they would share a DNS server.
HOSTS = os.path.join(os.environ["TEST_TMP"], "hosts")
open(HOSTS, "w", encoding="utf-8").close()
subprocess.run(["mount", "--bind", HOSTS, "/etc/hosts"], check=True)


def dns_name(device):
    return f"{device.name}.fleet.example"


def update_dns():
    with open(HOSTS, "w", encoding="utf-8") as file:
        file.write("127.0.0.1 localhost\n" + "".join(f"{d.address} {dns_name(d)}\n" for d in cluster.devices))


cluster = Cluster(3)
cluster.start()
cluster.wait_voters(3)
update_dns()
fresh = iter(f"10.99.0.{number}" for number in range(50, 60))


def followed(device):
    """Its record, as its leader and as the last server has it."""
    wanted = [f"{device.address}:6444", f"{dns_name(device)}:6444"]

    def everywhere():
        cluster.leader()
        return all(cluster.member(device.name, d)["addresses"] == wanted for d in cluster.devices)

    eventually(everywhere, 60, f"all have the new address of {device.name}")


def all_is_well(name):
    cluster.leader().create(config_map(name, a="b"))
    for device in cluster.devices:
        eventually(lambda: cluster.status(device)["health"]["ok"], 30, f"{device.name} is well")
        eventually(lambda: device.api("GET", f"/api/v1/namespaces/default/configmaps/{name}")["data"] == {"a": "b"}, 20,
                   f"{device.name} reads it")


@case
def each_is_given_a_name():
    for device in cluster.devices:
        device.configure(raft={"profile": cluster.profile}, node={"dnsName": dns_name(device)})
        device.process.send_signal(signal.SIGHUP)
    for device in cluster.devices:
        followed(device)


@case
def a_connection_to_the_leader_is_dead_without_a_word():
    leader, follower = cluster.leader(), cluster.followers()[0]
    follower.create(config_map("first", a="b"))  # on a connection that is kept
    out = subprocess.run(follower.prefix + ["ss", "-Htn", "state", "established", f"( dst {leader.address} and dport = :6444 )"],
                         check=True, stdout=subprocess.PIPE, text=True).stdout
    ports = [line.split()[2].rsplit(":", 1)[1] for line in out.splitlines()]
    expect(ports, "there are connections to the leader")
    cluster._rules(follower, f"ip saddr {leader.address} tcp sport 6444 tcp dport {{ {', '.join(ports)} }} drop\n", table="way")
    # It arrives and is carried out, and no answer comes back: half a minute is more than a client has to wait for that.
    status = follower.api("POST", "/api/v1/namespaces/default/configmaps", config_map("unanswered", a="b"), check=False)
    expect_equal((status.get("code"), status.get("reason")), (504, "Timeout"))
    expect("retryAfterSeconds" not in status.get("details", {}), "it is not to be repeated")
    eventually(lambda: "unanswered" in leader.names("/api/v1/namespaces/default/configmaps"), 10, "it was done")
    expect_equal(cluster.leader().name, leader.name, "who leads is the same")
    follower.create(config_map("second", a="b"))  # on another connection
    subprocess.run(follower.prefix + ["nft", "delete", "table", "inet", "way"], check=True)


@case
def a_follower_moves():
    follower = cluster.followers()[0]
    cluster.move(follower, next(fresh))
    followed(follower)
    all_is_well("follower")


@case
def the_leader_moves():
    leader = cluster.leader()
    cluster.move(leader, next(fresh))
    followed(leader)
    all_is_well("leader")


@case
def two_move_at_once():
    # The leader may be one of the two, or the one that stays.
    for stays in (cluster.followers()[0], cluster.leader()):
        moving = [d for d in cluster.devices if d is not stays]
        for device in moving:
            cluster.move(device, next(fresh))
        for device in moving:
            followed(device)
        all_is_well(f"two-{stays.name}")


@case
def all_move_at_once():
    for device in cluster.devices:
        cluster.move(device, next(fresh))
    update_dns()
    for device in cluster.devices:
        followed(device)
    all_is_well("all")


@case
def the_name_stands_in_node_and_certificate():
    device = cluster.devices[0]
    addresses = device.api("GET", f"/api/v1/nodes/{device.name}")["status"]["addresses"]
    expect({"type": "InternalDNS", "address": dns_name(device)} in addresses, f"InternalDNS in {addresses}")
    # Whoever goes by the name meets a certificate that has it.
    listed = device.run(["kubectl", "--server", f"https://{dns_name(device)}:6443", "get", "nodes", "-o", "name"])
    expect(f"node/{device.name}" in listed[1], f"kubectl lists by that name: {listed}")


run(cluster, at_once=1)

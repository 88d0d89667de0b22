#!/usr/bin/env python3
# timeout: 300
"""Devices become a cluster: three servers by token, what bad tokens get, leaving and coming back."""
import json
import os
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from cluster import Cluster
from limpet import config_map, secret

cluster = Cluster(3)
four = cluster.add("edge-4")
cluster.start(3)
cluster.wait_voters(3)
one, two, three = cluster.devices[:3]


@case
def every_server_says_who_there_is():
    for device in (one, two, three):
        status = cluster.status(device)
        expect_equal(sorted(m["name"] for m in status["members"]), ["edge-1", "edge-2", "edge-3"])
        expect(status["health"]["ok"], status["health"]["message"])
        expect_equal(sum(m["leader"] for m in status["members"]), 1)
    expect_match(r"3 of 3 voters are in contact: 1 may be lost", cluster.limpet(two, "cluster status"))


@case
def an_object_of_one_is_there_on_all():
    one.create(config_map("shared", where="everywhere"))
    for device in (one, two, three):
        expect_equal(device.api("GET", "/api/v1/namespaces/default/configmaps/shared")["data"], {"where": "everywhere"})


def refused(token, url=None, options=""):
    """What `limpet join` says on a device that runs and is not let in."""
    return cluster.limpet(four, f"join {url or one.url} {token} {options}", status=1)


@case
def bad_tokens_are_refused_with_the_reason():
    four.configure()
    four.start()
    good = cluster.token()
    words = good.split(".")
    other = "".join("0" if c == "1" else "1" for c in words[1])
    rows = [
        ("limpet1.short", "token"),
        (".".join([words[0], other, words[2], words[3]]), "another cluster"),
        (".".join([words[0], words[1], "zzzzzz", words[3]]), "not known"),
        (".".join([words[0], words[1], words[2], "0" * 16]), "not known|secret"),
        (cluster.token(role="agent"), "agent"),
    ]
    for token, reason in rows:
        expect_match("(?i)" + reason, refused(token, options="--role server").replace("\n        ", " "))
    short = cluster.token(options="--ttl 1s")
    time.sleep(2)
    expect_match("expired", refused(short).replace("\n        ", " "))
    expect_equal(four.names("/api/v1/nodes"), ["edge-4"], "the device's own cluster goes on")
    # Only the device sees a wrong hash, and tells the server no more than that it does not trust it.
    expect_equal(open(one.log_file).read().count("a client does not trust this server: its join token"), 1)
    # The first of them: one line an address and minute.
    expect_match("a device was not let in.*why=.*not known", open(cluster.leader([one, two, three]).log_file).read())


@case
def a_name_that_is_held_is_told_by_whom():
    four.stop()
    four.configure(nodeName="edge-2")
    four.start_daemon()
    expect_match("edge-2", refused(cluster.token(), options="--discard"))
    four.stop()
    four.configure()
    four.start_daemon()


@case
def what_a_device_holds_is_not_given_up_unasked():
    four.create(config_map("mine"), secret("mine", a="b"))
    expect_match("--discard", refused(cluster.token()).replace("\n        ", " "))


@case
def a_running_device_joins_leaves_and_joins_again():
    for _ in range(2):
        token = cluster.token(options="--uses 1")
        cluster.limpet(four, f"join {two.url} {token} --discard")
        eventually(lambda: four.api("GET", "/readyz", raw=True) == "ok" and cluster.member("edge-4"), 40, "edge-4 is a member")
        eventually(lambda: cluster.member("edge-4")["role"] == "learner", 20, "an even number of servers has one that does not vote")
        expect_equal(four.api("GET", "/api/v1/namespaces/default/configmaps/shared")["data"], {"where": "everywhere"})
        expect("mine" not in four.names("/api/v1/namespaces/default/configmaps"), "its own cluster is over")
        leader = cluster.leader()
        cluster.limpet(leader, "node remove edge-4")
        eventually(lambda: not cluster.member("edge-4", one), 20, "edge-4 left")
        eventually(lambda: "edge-4" not in one.names("/api/v1/nodes"), 20, "its Node is gone")
        four.stop()
        cluster.limpet(four, "reset --yes")
        four.start_daemon()


run(cluster, at_once=1)

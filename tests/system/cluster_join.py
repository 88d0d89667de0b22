#!/usr/bin/env python3
# timeout: 300
"""Devices become a cluster: three servers by token, what bad tokens get, leaving and coming back."""
import json
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from cluster import Cluster
from limpet import config_map

cluster = Cluster(3)
cluster.start()
cluster.wait_voters(3)
one, two, three = cluster.devices


@case
def every_server_says_who_there_is():
    for device in cluster.devices:
        status = cluster.status(device)
        expect_equal(sorted(m["name"] for m in status["members"]), ["edge-1", "edge-2", "edge-3"])
        expect(status["health"]["ok"], status["health"]["message"])
        expect_equal(sum(m["leader"] for m in status["members"]), 1)
    expect_match(r"3 of 3 voters are in contact: 1 may be lost", cluster.limpet(two, "cluster status"))


@case
def an_object_of_one_is_there_on_all():
    one.create(config_map("shared", where="everywhere"))
    for device in cluster.devices:
        expect_equal(device.api("GET", "/api/v1/namespaces/default/configmaps/shared")["data"], {"where": "everywhere"})


run(cluster, at_once=1)

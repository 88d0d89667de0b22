#!/usr/bin/env python3
# timeout: 300
"""Three servers and an agent are backed up; all servers are lost; one is set up anew from the backup, the agent goes on with
it, and the others come back under their names."""
import os
import re
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from cluster import Cluster
from limpet import config_map

MAPS = "/api/v1/namespaces/default/configmaps"
GAP = 1_000_000_000

cluster = Cluster(3)
field = cluster.add("field-1")
cluster.start(3)
cluster.wait_voters(3)
one, two, three = servers = cluster.devices[:3]
PASSPHRASE, FILE = one.home + "/passphrase", one.home + "/site.backup"
with open(PASSPHRASE, "w", encoding="utf-8") as phrase:
    phrase.write("tide and time wait\n")


def words(text):
    return re.sub(r"\s+", " ", text)


def is_ready():
    conditions = one.api("GET", "/api/v1/nodes/field-1")["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@case
def a_follower_backs_up_what_the_leader_acknowledged():
    field.configure(role="agent", join={"url": one.url, "token": cluster.token(role="agent")})
    field.start_daemon(wait=False)
    eventually(is_ready, 40, "the agent is ready")
    leader = cluster.leader(servers)
    leader.create(config_map("kept", a="b"))
    follower = next(d for d in servers if d is not leader)
    said = cluster.limpet(follower, f"backup {FILE} --passphrase-file {PASSPHRASE}")
    expect("majority" not in said, said)
    expect_equal(os.stat(FILE).st_mode & 0o7777, 0o600, "mode")
    one.before = one.api("GET", MAPS)["metadata"]["resourceVersion"]


@case
def one_is_set_up_anew():
    for device in servers:
        device.kill()
    said = words(cluster.limpet(one, f"restore {FILE} --passphrase-file {PASSPHRASE}", status=1))
    expect_match("holds a store.*limpet reset empties dataDir", said)
    cluster.limpet(one, "reset --yes")
    one.configure()
    cluster.limpet(one, f"restore {FILE} --passphrase-file {PASSPHRASE}")
    one.start_daemon()
    expect_equal(one.api("GET", MAPS + "/kept")["data"], {"a": "b"})
    expect(int(one.api("GET", MAPS)["metadata"]["resourceVersion"]) > GAP, "the revision is raised")
    expect_equal(one.watch_code(MAPS, one.before), 410, "a watch of before")
    expect_equal([m["name"] for m in cluster.status(one)["members"]], ["edge-1"])
    eventually(is_ready, 60, "the agent goes on")


@case
def its_own_name_stays_its_own():
    for verb in ("remove", "revoke"):
        expect_match("edge-1 is the only server of this cluster",
                     words(cluster.limpet(one, f"node {verb} edge-1", status=1)))


@case
def a_server_of_before_comes_back_under_its_name():
    cluster.limpet(two, "reset --yes")
    two.configure()
    two.start_daemon()
    said = words(cluster.limpet(two, f"join {one.url} {cluster.token()} --role server --discard", status=1))
    expect_match("the name edge-2 is held by a server.*limpet node remove edge-2", said)
    cluster.limpet(one, "node remove edge-2")
    cluster.limpet(two, f"join {one.url} {cluster.token()} --role server --discard")
    eventually(lambda: cluster.member("edge-2", one), 40, "edge-2 is a member")
    eventually(lambda: two.api("GET", MAPS + "/kept")["data"] == {"a": "b"}, 30, "it begins anew, with what there is")


@case
def one_that_is_revoked_instead_does_not():
    cluster.limpet(one, "node revoke edge-3")
    three.start_daemon(wait=False)
    eventually(lambda: re.search(r"edge-[12] refused \((denied|not_me)\)", open(three.log_file).read()), 40, "edge-3 is told")
    expect("edge-3" not in [m["name"] for m in cluster.status(one)["members"]], "it is no member")
    three.stop()


run(cluster, at_once=1)

#!/usr/bin/env python3
# timeout: 300
"""Two of three servers are lost for good, and the third goes on alone: `limpet cluster recover`."""
import http.client
import os
import re
import ssl
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, expect_match, run
from cluster import Cluster
from limpet import config_map

cluster = Cluster(3)
four = cluster.add("edge-4")
cluster.start(3)
cluster.wait_voters(3)
one, two, three = cluster.devices[:3]
one.create(config_map("kept", a="b"))
before = int(one.api("GET", "/api/v1/namespaces/default/configmaps/kept")["metadata"]["resourceVersion"])


def words(text):
    return re.sub(r"\s+", " ", text)


def refused(device, status=1):
    return words(cluster.limpet(device, "cluster recover --yes", status=status))


@case
def a_running_server_is_not_recovered():
    expect_match("limpetd runs", refused(one))


@case
def a_cluster_that_can_decide_is_not_recovered():
    three.stop()
    expect_match("not lost.*edge-1.*edge-2|not lost.*edge-2.*edge-1", refused(three))
    two.kill()
    expect_match("not lost.*edge-1", refused(three), "two of three can decide")
    three.start_daemon()
    eventually(lambda: three.api("GET", "/readyz", raw=True) == "ok", 30, "edge-1 and edge-3 go on")


@case
def nothing_is_done_unasked():
    one.kill()
    three.stop()
    code, out, err = three.run(f"limpet --config {three.config_file} cluster recover", input="")
    expect_equal(code, 2)
    expect_match("--yes says", words(out + err))


@case
def the_one_that_is_left_goes_on():
    said = words(cluster.limpet(three, "cluster recover --yes"))
    expect_match("edge-3 is the whole cluster now.*Given up: edge-1, edge-2|Given up: edge-2, edge-1", said)
    three.start_daemon()
    eventually(lambda: three.api("GET", "/readyz", raw=True) == "ok", 30, "edge-3 is ready")
    expect_equal([m["name"] for m in cluster.status(three)["members"]], ["edge-3"])
    expect_equal(three.api("GET", "/api/v1/namespaces/default/configmaps/kept")["data"], {"a": "b"})
    three.create(config_map("after", c="d"))
    expect_equal(three.names("/api/v1/nodes"), ["edge-3"])
    expect_match("no other servers", _again())
    # With it the cluster would end, and its keys.
    for verb in ("remove", "revoke"):
        expect_match("edge-3 is the only server of this cluster", words(cluster.limpet(three, f"node {verb} edge-3", status=1)))
    expect_equal(three.names("/api/v1/nodes"), ["edge-3"])


def _again():
    three.stop()
    said = refused(three)
    three.start_daemon()
    eventually(lambda: three.api("GET", "/readyz", raw=True) == "ok", 30, "edge-3 is ready")
    return said


@case
def watches_of_before_begin_anew():
    path = f"/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=5&resourceVersion={before}"
    try:
        text = three.api("GET", path, raw=True)
    except Failure as failure:
        text = str(failure)
    expect_match(r'410|"code": ?410', text)


@case
def a_lost_server_that_comes_back_is_refused():
    one.start_daemon(wait=False)
    eventually(lambda: re.search(r"edge-3 refused \((not_me|denied)\)", open(one.log_file).read()), 30, "edge-1 is told")
    expect_equal([m["name"] for m in cluster.status(three)["members"]], ["edge-3"])
    # Its vote counts nowhere, and it cannot write.
    expect("after" not in one.names("/api/v1/namespaces/default/configmaps?resourceVersion=0"), "it is not told anything")
    # Nor is its certificate good for anything at the API.
    expect_equal(own_node_with_certificate_of(three), 200)
    expect_equal(own_node_with_certificate_of(one), 401)
    one.stop()


def own_node_with_certificate_of(device):
    pki = device.data_dir + "/pki"
    context = ssl.create_default_context(cafile=three.data_dir + "/pki/ca.crt")
    context.load_cert_chain(pki + "/node.crt", pki + "/node.key")
    connection = http.client.HTTPSConnection(three.address, 6443, timeout=10, context=context)
    connection.request("GET", f"/api/v1/nodes/{device.name}")
    return connection.getresponse().status


@case
def devices_join_the_cluster_that_goes_on():
    token = cluster.limpet(three, "token create --role server").split()[-1]
    four.configure(raft={"profile": cluster.profile}, join={"url": three.url, "token": token})
    four.start()
    eventually(lambda: cluster.member("edge-4", three), 30, "edge-4 is a member")
    expect_equal(four.api("GET", "/api/v1/namespaces/default/configmaps/after")["data"], {"c": "d"})
    # Of two servers one votes: it does not go while nobody can take over.
    four.kill()
    eventually(lambda: cluster.member("edge-4", three)["contactSeconds"] > 4, 20, "edge-4 is missed")
    expect_match(r"no server that could take over is in contact \(edge-4\)",
                 words(cluster.limpet(three, "node remove edge-3", status=1)))
    four.start_daemon()
    # And one of those of before, once it has nothing of before.
    cluster.limpet(two, "reset --yes")
    two.configure(raft={"profile": cluster.profile}, join={"url": three.url, "token": token})
    two.start_daemon()
    eventually(lambda: cluster.member("edge-2", three), 30, "edge-2 is a member")
    eventually(lambda: sum(m["role"] == "voter" for m in cluster.status(three)["members"]) == 3, 40, "three voters")


run(cluster, at_once=1)

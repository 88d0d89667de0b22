#!/usr/bin/env python3
# timeout: 300
"""A node whose lease is not renewed any more, as the API and kubectl show it; a node that is removed; tokens that expire.

The other node is made of objects only: what a device would write, the test writes."""
import os
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, run
from limpet import pod, pod_device

device = pod_device()
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
TAINTS = {("node.kubernetes.io/unreachable", "NoSchedule"), ("node.kubernetes.io/unreachable", "NoExecute")}


def says_ready(name, at):
    conditions = [{"type": t, "status": "True" if t == "Ready" else "False", "lastHeartbeatTime": at, "reason": "Said"}
                  for t in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")]
    device.api("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"conditions": conditions, "allocatable": {"pods": "10"}}},
               headers={"Content-Type": "application/strategic-merge-patch+json"})


def node(name):
    return device.api("GET", f"/api/v1/nodes/{name}")


def condition(name, kind):
    return next(c for c in node(name)["status"]["conditions"] if c["type"] == kind)


def taints(name):
    return {(t["key"], t["effect"]) for t in node(name)["spec"].get("taints", [])}


def names():
    return {p["metadata"]["name"] for p in device.api("GET", "/api/v1/namespaces/default/pods")["items"]}


def going(name):
    return "deletionTimestamp" in device.pod(name)["metadata"]


@case
def a_node_falls_silent_comes_back_and_is_removed():
    device.api("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "ghost"}})
    says_ready("ghost", "2026-01-01T00:00:00Z")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "ghost"},
             "spec": {"holderIdentity": "ghost", "renewTime": "1970-01-01T00:00:01.000000Z"}}
    device.api("PUT", f"{LEASES}/ghost", lease)  # made with its Node
    since = time.monotonic()
    brief = [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]
    device.create(pod("usual", nodeName="ghost"), pod("brief", nodeName="ghost", tolerations=brief))
    expect_equal(sorted((t["key"], t["tolerationSeconds"]) for t in device.pod("usual")["spec"]["tolerations"]),
                 [("node.kubernetes.io/not-ready", 300), ("node.kubernetes.io/unreachable", 300)], "admission's tolerations")

    # Renewed once, with a clock that runs backwards: that counts all the same.
    time.sleep(20)
    renewed = time.monotonic()
    lease["spec"]["renewTime"] = "1970-01-01T00:00:00.000000Z"
    device.api("PUT", f"{LEASES}/ghost", lease)
    eventually(lambda: condition("ghost", "Ready")["status"] == "Unknown", 60, "Ready Unknown", every=0.5)
    expect(time.monotonic() - renewed > 38, f"after {time.monotonic() - renewed:.0f} s, made {time.monotonic() - since:.0f} s ago")
    for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
        c = condition("ghost", kind)
        expect_equal((c["status"], c["reason"], c["message"]),
                     ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."), kind)
    eventually(lambda: taints("ghost") == TAINTS, 5, "the taints")
    eventually(lambda: any("NodeNotReady Node ghost status is now: NodeNotReady" in e for e in device.events("ghost")), 5, "the event")
    expect("NotReady" in device.kubectl("get node ghost"), "kubectl says NotReady")
    expect_equal(condition("device", "Ready")["status"], "True", "the leader's own device")
    expect_equal(taints("device"), set(), "its taints")

    eventually(lambda: going("brief"), 15, "the pod with five seconds")
    eventually(lambda: any("TaintManagerEviction Marking for deletion Pod default/brief" in e for e in device.events("brief")), 5, "told")
    expect(not going("usual"), "the usual pod has five minutes")
    # Nothing new goes there.
    device.create(pod("fresh", nodeSelector={"ghost": "yes"}))
    device.kubectl("label node ghost ghost=yes")
    eventually(lambda: any("untolerated taint" in e for e in device.events("fresh")), 10, "the reason")

    says_ready("ghost", "2026-01-01T00:01:00Z")
    eventually(lambda: taints("ghost") == set(), 10, "the taints that went")
    eventually(lambda: any("Cancelling deletion of Pod default/usual" in e for e in device.events("usual")), 5, "cancelled")
    eventually(lambda: device.pod("fresh")["spec"].get("nodeName") == "ghost", 10, "now it goes there")

    device.kubectl("delete node ghost")
    removed = time.monotonic()
    eventually(lambda: names() == set(), 60, "the pods of the node", every=0.5)
    expect(time.monotonic() - removed > 38, "not before the quarantine was over")


@case
def tokens_expire():
    def token(name, expiration):
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "bootstrap.kubernetes.io/token",
                "stringData": {"token-id": name[-6:], "expiration": expiration}}

    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    device.create(token("bootstrap-token-aaaaaa", "2020-01-01T00:00:00Z"), token("bootstrap-token-bbbbbb", soon),
                  token("bootstrap-token-cccccc", "9999-01-01T00:00:00Z"), namespace="kube-system")
    path = "/api/v1/namespaces/kube-system/secrets"
    eventually(lambda: "bootstrap-token-aaaaaa" not in device.names(path), 5, "the old one")
    eventually(lambda: "bootstrap-token-bbbbbb" not in device.names(path), 10, "the one that came to its end")
    expect("bootstrap-token-cccccc" in device.names(path), "the one that lasts")


run(device)

#!/usr/bin/env python3
# parallel: yes
"""What a device may do with its certificate, over the wire; and how it says that it is alive."""
import json
import os
import shutil
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import Device, pod, secret

for program in ("curl", "kubectl", "openssl"):
    if not shutil.which(program):
        skip(f"no {program}")
device = Device(registry=False).start()
kubectl = device.kubectl
PKI = device.data_dir + "/pki"
PODS = "/api/v1/namespaces/default/pods"


def certificate(name, *groups):
    """A certificate as a device that joins is given one."""
    at = os.path.join(device.home, name.replace(":", "-"))  # curl takes what follows a colon for a password
    subject = "".join("/O=" + g for g in groups) + "/CN=" + name
    openssl = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
               "-keyout", at + ".key", "-out", at + ".csr"]
    expect_equal(device.run(openssl)[0], 0)
    with open(at + ".ext", "w") as f:
        f.write("extendedKeyUsage=clientAuth\n")
    code, _, err = device.run(["openssl", "x509", "-req", "-in", at + ".csr", "-CA", PKI + "/ca.crt", "-CAkey", PKI + "/ca.key",
                               "-set_serial", "4711", "-days", "2", "-extfile", at + ".ext", "-out", at + ".crt"])
    expect_equal(code, 0, err)
    return at


def ask(who, method, path, body=None, kind="application/json"):
    words = ["curl", "-sk", "--max-time", "10", "-X", method, "--cert", who + ".crt", "--key", who + ".key",
             "-w", "\n%{http_code}", "https://127.0.0.1:6443" + path]
    if body is not None:
        words += ["-H", "Content-Type: " + kind, "-d", json.dumps(body)]
    code, out, err = device.run(words)
    expect_equal(code, 0, err)
    text, _, status = out.rpartition("\n")
    return int(status), json.loads(text) if text.startswith("{") else text


other = certificate("system:node:other", "system:nodes")


@case
def a_device_reads_its_own_pods_and_what_they_mention():
    device.apply(secret("wanted", a="1"), secret("private", a="2"))
    device.create(pod("theirs", nodeName="other", volumes=[{"name": "v", "secret": {"secretName": "wanted"}}]))
    expect_equal(ask(other, "GET", "/api/v1/namespaces/default/secrets/wanted")[0], 200)
    status, answer = ask(other, "GET", "/api/v1/namespaces/default/secrets/private")
    expect_equal(status, 403)
    expect_match("no relationship found between node 'other' and this object", answer["message"])
    expect_equal(ask(other, "GET", PODS)[0], 403)
    found = ask(other, "GET", PODS + "?fieldSelector=spec.nodeName%3Dother")[1]
    expect_equal([p["metadata"]["name"] for p in found["items"]], ["theirs"])
    expect_equal(ask(other, "GET", "/api/v1/nodes")[0], 403)
    expect_equal(ask(other, "GET", "/api/v1/nodes/" + device.name)[0], 403)
    expect_equal(ask(other, "DELETE", PODS + "/theirs?gracePeriodSeconds=0")[0], 200)
    eventually(lambda: ask(other, "GET", "/api/v1/namespaces/default/secrets/wanted")[0] == 403, 10)


@case
def a_device_writes_nothing_of_another():
    merge = "application/merge-patch+json"
    status, answer = ask(other, "PATCH", "/api/v1/nodes/" + device.name, {"metadata": {"labels": {"a": "b"}}}, merge)
    expect_equal(status, 403)
    expect_match(f'node "other" is not allowed to modify node "{device.name}"', answer["message"])
    device.create(pod("ours"))
    eventually(lambda: device.pod("ours")["spec"].get("nodeName") == device.name, 10)
    expect_equal(ask(other, "PATCH", PODS + "/ours/status", {"status": {"phase": "Failed"}}, merge)[0], 403)
    expect_equal(ask(other, "DELETE", PODS + "/ours?gracePeriodSeconds=0")[0], 403)
    expect_equal(ask(other, "GET", PODS + "/ours/log")[0], 403)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "other", "labels": {"node-role.kubernetes.io/control-plane": ""}}}
    expect_equal(ask(other, "POST", "/api/v1/nodes", node)[0], 403)


@case
def a_join_token_may_only_join():
    token = certificate("system:bootstrap:abcdef", "system:bootstrappers")
    for path in ("/api", "/version", "/api/v1/nodes", "/openapi/v3", "/api/v1/namespaces/kube-system/secrets"):
        expect_equal(ask(token, "GET", path)[0], 403, path)


def the_lease_of_the_device():
    kubectl("delete pod ours --force --grace-period=0 --wait=true")  # says again and again that its image is not to be had

    def lease():
        return json.loads(kubectl(f"get lease {device.name} -n kube-node-lease -o json"))

    eventually(lambda: lease()["spec"].get("renewTime"), 20)
    first, before = lease(), json.loads(kubectl("get --raw /api/v1/configmaps"))["metadata"]["resourceVersion"]
    expect_equal((first["spec"]["holderIdentity"], first["spec"]["leaseDurationSeconds"]), (device.name, 40))
    eventually(lambda: lease()["spec"]["renewTime"] > first["spec"]["renewTime"], 15)
    expect(int(lease()["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"]),
           "a renewal has no version of its own")
    # In memory alone: the line of what is durable stands still.
    expect_equal(json.loads(kubectl("get --raw /api/v1/configmaps"))["metadata"]["resourceVersion"], before)
    expect_match(f"HolderIdentity: +{device.name}", kubectl(f"describe node {device.name}"))


@case
def heartbeats_of_a_device_that_joined():
    expect_equal(ask(other, "POST", "/limpet/v1/heartbeat")[0], 404)
    expect_equal(ask(other, "POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "other"}})[0], 201)
    expect_equal(ask(other, "POST", "/limpet/v1/heartbeat")[0], 204)
    expect_equal(ask(other, "POST", "/limpet/v1/heartbeat", {"leaseDurationSeconds": 5})[0], 400)
    lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"
    expect(ask(other, "GET", lease + "other")[1]["spec"].get("renewTime"), "no renewTime")
    expect_equal(ask(other, "GET", lease + device.name)[0], 403)
    kubectl("delete node other")
    eventually(lambda: ask(other, "GET", lease + "other")[0] == 404, 10)
    expect_equal(device.run(["curl", "-sk", "-X", "POST", "-o", "/dev/null", "-w", "%{http_code}",
                             "https://127.0.0.1:6443/limpet/v1/heartbeat"])[1], "401")


def elections_write_once_for_a_holder():
    def version():
        return json.loads(kubectl("get --raw /api/v1/configmaps"))["metadata"]["resourceVersion"]

    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "election", "namespace": "default"},
             "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}}
    kubectl("create -f -", input=json.dumps(lease))
    before = version()
    for second in range(1, 6):
        lease["spec"]["renewTime"] = f"2026-01-01T00:00:0{second}.000000Z"
        kubectl("replace -f -", input=json.dumps(lease))
    expect_equal(version(), before)
    kubectl(["patch", "lease", "election", "--type=merge", "-p", '{"spec":{"holderIdentity":"two"}}'])
    expect_equal(int(version()), int(before) + 1)
    device.stop()
    device.start()
    expect_equal(kubectl("get lease election -o jsonpath={.spec.holderIdentity}"), "two")


run(device, last=(the_lease_of_the_device, elections_write_once_for_a_holder))

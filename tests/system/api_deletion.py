#!/usr/bin/env python3
# parallel: yes
"""What goes along with what is deleted, by kubectl: background, foreground, orphan; several owners; namespaces and events."""
import json
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import Device, config_map, kubectl_at_least

MAPS = "/api/v1/namespaces/default/configmaps"
device = Device(registry=False).start()
kubectl, refused = device.kubectl, device.refused


def meta(name):
    return device.api("GET", f"{MAPS}/{name}")["metadata"]


def there(name):
    return name in device.names(MAPS)


def make(name, *owners, blocks=True, finalizers=()):
    owned = config_map(name)
    owned["metadata"]["finalizers"] = list(finalizers)
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": meta(owner)["uid"], "blockOwnerDeletion": blocks}
        for owner in owners]
    device.create(owned)


def release(name):
    kubectl(["patch", "configmap", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}'])


@case
def background():
    make("bg")
    make("bg-child", "bg", finalizers=["example.com/hold"])
    kubectl("delete configmap bg --cascade=background", timeout=30)  # waits for bg, not for its child
    eventually(lambda: meta("bg-child").get("deletionTimestamp"), 20, "the child is deleted after it")
    release("bg-child")
    eventually(lambda: not there("bg-child"), 20)


@case
def foreground():
    make("fg")
    make("fg-child", "fg")
    make("fg-grandchild", "fg-child", finalizers=["example.com/hold"])
    kubectl("delete configmap fg --cascade=foreground --wait=false")
    eventually(lambda: meta("fg-grandchild").get("deletionTimestamp"), 20, "the grandchild is deleted first")
    expect_equal(meta("fg-child")["finalizers"], ["foregroundDeletion"])
    expect_equal(meta("fg")["finalizers"], ["foregroundDeletion"])
    release("fg-grandchild")
    # By looking: older kubectl calls it an error to wait for what is gone already.
    eventually(lambda: not any(there(name) for name in ("fg", "fg-child", "fg-grandchild")), 60, "the whole tree is gone")


@case
def orphan():
    make("or")
    for child in ("or-1", "or-2"):
        make(child, "or")
    kubectl("delete configmap or --cascade=orphan", timeout=30)
    for child in ("or-1", "or-2"):
        expect("ownerReferences" not in meta(child), str(meta(child)))
        expect("deletionTimestamp" not in meta(child), str(meta(child)))


@case
def foreground_with_another_owner():
    make("two-a")
    make("two-b")
    make("two-child", "two-a", "two-b")
    kubectl("delete configmap two-a --cascade=foreground", timeout=30)
    expect_equal([o["name"] for o in meta("two-child")["ownerReferences"]], ["two-b"])
    kubectl("delete configmap two-b --cascade=foreground", timeout=30)
    expect(not there("two-child"), "the child outlives its last owner")


@case
def foreground_without_a_dependent_that_blocks():
    make("free")
    make("free-held", "free", blocks=False, finalizers=["example.com/hold"])
    make("free-left", "free", finalizers=["example.com/hold"])
    kubectl(["patch", "configmap", "free-left", "--type=merge", "-p", '{"metadata":{"ownerReferences":null}}'])
    kubectl("delete configmap free --cascade=foreground", timeout=30)
    eventually(lambda: meta("free-held").get("deletionTimestamp"), 20, "who does not block goes all the same")
    expect("deletionTimestamp" not in meta("free-left"), str(meta("free-left")))
    for name in ("free-held", "free-left"):
        release(name)


@case
def after_a_restart():
    """What waited when the daemon was killed goes on waiting for the same."""
    other = Device("again", apart=True, registry=False).start()
    try:
        def map_of(name):
            return other.api("GET", f"{MAPS}/{name}")["metadata"]

        other.create(config_map("a"))
        child = config_map("child")
        child["metadata"]["finalizers"] = ["example.com/hold"]
        child["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a",
                                                 "uid": map_of("a")["uid"], "blockOwnerDeletion": True}]
        other.create(child)
        other.kubectl("delete configmap a --cascade=foreground --wait=false")
        eventually(lambda: map_of("child").get("deletionTimestamp"), 20)
        other.kill()
        other.start_daemon()
        expect_equal(map_of("a")["finalizers"], ["foregroundDeletion"])
        other.kubectl(["patch", "configmap", "child", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'])
        eventually(lambda: not {"a", "child"} & set(other.names(MAPS)), 60, "owner and dependent are gone")
    finally:
        leaks = other.close()
    expect(not leaks, str(leaks))


@case
def events_in_the_foreground():
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "R", "type": "Normal",
             "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}}
    for policy in ("foreground", "orphan", "background"):
        device.create(event)
        kubectl(f"delete event e --cascade={policy}", timeout=30)
        expect("e" not in device.names("/api/v1/namespaces/default/events"), policy)


@case
def a_namespace_that_is_held():
    kubectl("create namespace term")
    kubectl("create configmap held -n term")
    kubectl(["patch", "configmap", "held", "-n", "term", "-p", '{"metadata":{"finalizers":["example.com/x"]}}'])
    kubectl("delete namespace term --wait=false")

    def conditions():
        status = device.api("GET", "/api/v1/namespaces/term")["status"]
        return {c["type"]: c for c in status.get("conditions", [])}

    eventually(lambda: "NamespaceContentRemaining" in conditions(), 20)
    got = conditions()
    expect_equal(got["NamespaceContentRemaining"]["message"],
                 "Some resources are remaining: configmaps. has 1 resource instances")
    expect_equal(got["NamespaceFinalizersRemaining"]["message"],
                 "Some content in the namespace has finalizers remaining: example.com/x in 1 resource instances")
    expect_equal(got["NamespaceDeletionContentFailure"]["status"], "False")
    if kubectl_at_least("1.27"):  # older ones describe no conditions of a namespace
        expect_match("SomeFinalizersRemain", kubectl("describe namespace term"))
    late = "because it is being terminated"
    expect_match(late, refused("create configmap late -n term"))
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "term"}, "reason": "R",
             "type": "Normal", "involvedObject": {"kind": "Pod", "name": "p", "namespace": "term"}}
    expect_match(late, refused("create -f -", json.dumps(event)))
    kubectl(["patch", "configmap", "held", "-n", "term", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'])
    eventually(lambda: "term" not in device.names("/api/v1/namespaces"), 60, "the namespace is gone")


run(device)

#!/usr/bin/env python3
# parallel: yes
"""What kubectl does to objects: create, get, list, watch, apply, patch, label, annotate, replace, edit, delete."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import Device, config_map, kubectl_at_least, pod

device = Device(registry=False).start()
kubectl, refused = device.kubectl, device.refused


@case
def create_and_get():
    expect_match("^configmap/made created$", kubectl("create configmap made --from-literal=x=1"))
    expect_equal(kubectl("get configmap made -o jsonpath={.data.x}"), "1")
    expect_match("already exists", refused("create configmap made"))
    expect_match("NotFound", refused("get configmap absent"))
    made = json.loads(kubectl("get configmap made -o json"))["metadata"]
    for field in ("uid", "resourceVersion", "creationTimestamp"):
        expect(made.get(field), f"no metadata.{field}")
    expect_match("kind: ConfigMap", kubectl("get configmap made -o yaml"))
    expect_match("^configmap/made$", kubectl("get configmap -o name"))


@case
def create_of_every_kind():
    kubectl("create namespace kinds")
    kubectl("create secret generic s --from-literal=password=hold -n kinds")
    expect_equal(kubectl("get secret s -n kinds -o jsonpath={.data.password}"), "aG9sZA==")
    expect_match("^s +Opaque +1 ", kubectl("get secret s -n kinds"))
    kubectl("create serviceaccount robot -n kinds")
    expect_match("^robot ", kubectl("get serviceaccount -n kinds"))
    expect_match("^default ", eventually(lambda: "default " in (text := kubectl("get serviceaccount -n kinds")) and text, 60, every=0.3))
    kubectl("delete namespace kinds --timeout=60s", timeout=90)
    expect_match("NotFound", refused("get namespace kinds"))


@case
def apply_and_its_memory():
    device.apply(config_map("applied", a="1", b="2"))
    expect_match("configured", device.apply(config_map("applied", a="1", c="3")))
    expect_equal(json.loads(kubectl("get configmap applied -o jsonpath={.data}")), {"a": "1", "c": "3"})
    expect_match("unchanged", device.apply(config_map("applied", a="1", c="3")))
    code, out, err = device.run("kubectl diff -f -", json.dumps(config_map("applied", a="9", c="3")))
    expect_equal(code, 1, "kubectl diff of a change: " + err)
    expect_match(r"^\+ +a: ['\"]?9", out)


@case
def apply_a_list():
    """What `kubectl get -o yaml` printed: kubectl wants the OpenAPI v2 document in protobuf for this one kind."""
    both = {"apiVersion": "v1", "kind": "List", "items": [config_map("listed-1"), config_map("listed-2")]}
    expect_match("configmap/listed-2 created", kubectl("apply -f -", json.dumps(both)))


@case
def apply_on_the_server():
    text = json.dumps(config_map("owned", a="1"))
    expect_match("serverside-applied", kubectl("apply --server-side --field-manager=one -f -", text))
    other = json.dumps(config_map("owned", a="2"))
    expect_match("conflict", refused("apply --server-side --field-manager=two -f -", other))
    kubectl("apply --server-side --field-manager=two --force-conflicts -f -", other)
    expect_equal(kubectl("get configmap owned -o jsonpath={.data.a}"), "2")
    expect_match("manager: two", kubectl("get configmap owned -o yaml" + (" --show-managed-fields" if kubectl_at_least("1.21") else "")))


@case
def patches():
    device.create(config_map("patched", a="1"), pod("patched", nodeName="none"))
    kubectl(["patch", "configmap", "patched", "--type=merge", "-p", '{"data":{"a":null,"b":"2"}}'])
    kubectl(["patch", "configmap", "patched", "--type=json", "-p", '[{"op":"add","path":"/data/c","value":"3"}]'])
    expect_equal(json.loads(kubectl("get configmap patched -o jsonpath={.data}")), {"b": "2", "c": "3"})
    expect_match("the server rejected|test|Invalid|invalid",
                 refused(["patch", "configmap", "patched", "--type=json", "-p", '[{"op":"test","path":"/data/c","value":"4"}]']))
    # Strategic: the list of containers is merged by name, not replaced.
    kubectl(["patch", "pod", "patched", "-p", '{"spec":{"containers":[{"name":"main","image":"other:2"}]}}'])
    container = device.pod("patched")["spec"]["containers"][0]
    expect_equal((container["image"], container["command"][0]), ("other:2", "sh"))
    expect_match("Forbidden|forbidden|may not change",
                 refused(["patch", "pod", "patched", "-p", '{"spec":{"hostNetwork":true}}']))
    kubectl("delete pod patched --grace-period=0 --force")


@case
def labels_and_selectors():
    for name, tier in (("one", "front"), ("two", "back"), ("three", "")):
        device.create(config_map("label-" + name))
        if tier:
            kubectl(f"label configmap label-{name} tier={tier}")
    listed = lambda selector: sorted(kubectl(["get", "configmap", "-o", "name", "-l", selector]).split())
    expect_equal(listed("tier=front"), ["configmap/label-one"])
    expect_equal(listed("tier!=front,tier"), ["configmap/label-two"])
    expect_equal(listed("tier in (front, back)"), ["configmap/label-one", "configmap/label-two"])
    expect("configmap/label-three" in listed("!tier"), "not labelled")
    expect_match("already has a value", refused("label configmap label-one tier=x"))
    kubectl("label configmap label-one tier-")
    expect_equal(listed("tier=front"), [])
    kubectl("annotate configmap label-one note='holds on'")
    expect_equal(kubectl("get configmap label-one -o jsonpath={.metadata.annotations.note}"), "holds on")
    expect_equal(kubectl("get configmap --field-selector metadata.name=label-two -o name").strip(), "configmap/label-two")
    expect_match("not supported|not a known", refused("get configmap --field-selector data.x=1"))


@case
def field_selectors_of_pods():
    device.create(pod("unbound", schedulerName="nobody"))
    expect_match("^pod/unbound$", kubectl("get pod --field-selector=status.phase=Pending,spec.nodeName= -o name"))
    expect_equal(kubectl("get pod --field-selector=status.phase=Running,metadata.name=unbound -o name"), "")
    kubectl("delete pod unbound")


@case
def pages():
    device.api("POST", "/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "pages"}})
    for number in range(25):
        device.create(config_map(f"page-{number:02}"), namespace="pages")
    whole = kubectl("get configmap -n pages -o name --chunk-size=4").split()
    expect_equal([w for w in whole if "page-" in w], [f"configmap/page-{n:02}" for n in range(25)])
    first = device.api("GET", "/api/v1/namespaces/pages/configmaps?limit=10")
    expect(first["metadata"]["continue"] and first["metadata"]["remainingItemCount"] >= 15, str(first["metadata"]))


@case
def watching():
    process = subprocess.Popen(device.command("kubectl get configmap -w --output-watch-events --field-selector metadata.name=seen"),
                               env=device.environment(), stdout=subprocess.PIPE)
    try:
        os.set_blocking(process.stdout.fileno(), False)
        text = ""

        def saw(word):
            nonlocal text
            text += (process.stdout.read() or b"").decode()
            return word in text

        device.create(config_map("seen", a="1"))
        eventually(lambda: saw("ADDED"), 60)
        device.api("PUT", "/api/v1/namespaces/default/configmaps/seen", config_map("seen", a="2"))
        eventually(lambda: saw("MODIFIED"), 60)
        device.api("DELETE", "/api/v1/namespaces/default/configmaps/seen")
        eventually(lambda: saw("DELETED"), 60)
        expect(text.index("ADDED") < text.index("MODIFIED") < text.index("DELETED"), text)
    finally:
        process.kill()
        process.wait()


@case
def dry_run():
    expect_match("created \\(server dry run\\)", kubectl("create configmap dry --dry-run=server"))
    expect_match("NotFound", refused("get configmap dry"))
    expect_match("Invalid value", refused("apply --dry-run=server -f -", json.dumps(config_map("Bad_Name"))))


@case
def field_validation():
    odd = pod("odd", nodeName="none")
    odd["spec"]["containerz"] = []
    said = refused("create -f -", json.dumps(odd))
    if not kubectl_at_least("1.27"):  # checks by itself, with the OpenAPI v2 document
        return expect_match('unknown field "(spec.)?containerz"', said)
    expect_match('unknown field "spec.containerz"', said)
    code, out, err = device.run("kubectl create --validate=warn -f -", json.dumps(odd))
    expect_equal(code, 0, err)
    expect_match('Warning: unknown field "spec.containerz"', err)
    kubectl("delete pod odd --grace-period=0 --force")


@case
def validation_in_known_words():
    bad = pod("bad")
    bad["spec"]["containers"][0]["name"] = "Not_Good"
    bad["spec"]["restartPolicy"] = "Sometimes"
    said = refused("create -f -", json.dumps(bad))
    expect_match('The Pod "bad" is invalid', said)
    expect_match("spec.containers\\[0\\].name: Invalid value", said)
    expect_match('spec.restartPolicy: Unsupported value: "Sometimes"', said)
    expect_match("spec.containers: Required value", refused("create -f -", json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "none"}, "spec": {"containers": []}})))


@case
def replace_and_conflict():
    device.create(config_map("raced", a="1"))
    old = json.loads(kubectl("get configmap raced -o json"))
    old["data"]["a"] = "2"
    expect_match("replaced", kubectl("replace -f -", json.dumps(old)))
    expect_match("the object has been modified", refused("replace -f -", json.dumps(old)))


@case
def deleting():
    for name in ("gone-1", "gone-2", "stays"):
        device.create({**config_map(name), "metadata": {"name": name, "labels": {"set": name.split("-")[0]}}})
    kubectl("delete configmap -l set=gone")
    expect_equal(kubectl("get configmap -l set -o name").split(), ["configmap/stays"])
    kubectl(["patch", "configmap", "stays", "-p", '{"metadata":{"finalizers":["example.com/hold"]}}'])
    kubectl("delete configmap stays --wait=false")
    expect(device.api("GET", "/api/v1/namespaces/default/configmaps/stays")["metadata"].get("deletionTimestamp"), "not marked")
    kubectl(["patch", "configmap", "stays", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'])
    expect_match("NotFound", refused("get configmap stays"))


@case
def owners():
    device.create(config_map("owner"))
    uid = device.api("GET", "/api/v1/namespaces/default/configmaps/owner")["metadata"]["uid"]
    owned = config_map("dependent")
    owned["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]
    device.create(owned)
    kubectl("delete configmap owner")
    eventually(lambda: "dependent" not in device.names("/api/v1/namespaces/default/configmaps"), 60, "the dependent goes too")


run(device)

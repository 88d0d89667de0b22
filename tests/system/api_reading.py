#!/usr/bin/env python3
# parallel: yes
"""What kubectl shows: tables, describe, explain, api-resources, version, who am I and what may I, raw paths."""
import json
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import Device, config_map, kubectl_at_least, needs_kubectl, pod, secret

device = Device(registry=False, node={"labels": {"zone": "shore"}}).start()
kubectl, refused = device.kubectl, device.refused


@case
def namespaces():
    text = kubectl("get namespaces")
    expect_match(r"^NAME +STATUS +AGE$", text)
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        expect_match(rf"^{name} +Active +\d+[smh]", text)


@case
def wide_tables():
    device.create(pod("wide", schedulerName="nobody"), config_map("wide", a="1", b="2"), secret("wide", a="1"))
    expect_match(r"^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE +NOMINATED NODE +READINESS GATES$", kubectl("get pod wide -o wide"))
    expect_match(r"^wide +0/1 +Pending +0 +\S+ +<none> +<none> +<none> +<none>$", kubectl("get pod wide -o wide"))
    expect_match(r"^NAME +DATA +AGE$", kubectl("get configmap wide"))
    expect_match(r"^wide +2 +", kubectl("get configmap wide"))
    expect_match(r"^NAME +TYPE +DATA +AGE$", kubectl("get secret wide"))
    expect_match(r"^NAMESPACE +NAME +READY", kubectl("get pods -A"))
    expect_match(r"^pod/wide .*\n(.*\n)*NAME +DATA +AGE\nconfigmap/", kubectl("get pods,configmaps"))
    expect_match(r"app=wide$", kubectl("get pod wide --show-labels"))
    expect_equal(kubectl(["get", "pod", "wide", "-o", "custom-columns=N:.metadata.name,P:.status.phase", "--no-headers"]).split(),
                 ["wide", "Pending"])
    expect_match("QoS Class: +BestEffort", kubectl("describe pod wide"))
    kubectl("delete pod wide")


@case
def the_node():
    if not device.runs_pods:
        return
    eventually(lambda: "device" in device.names("/api/v1/nodes"), 60, "the node is registered")
    eventually(lambda: " Ready " in kubectl("get nodes"), 60, "the node is ready", every=0.5)
    text = kubectl("get nodes -o wide")
    expect_match(r"^NAME +STATUS +ROLES +AGE +VERSION +INTERNAL-IP +EXTERNAL-IP +OS-IMAGE +KERNEL-VERSION +CONTAINER-RUNTIME", text)
    expect_match(r"^device +Ready ", text)
    expect_equal(kubectl("get node -l zone=shore -o name").strip(), "node/device")
    text = kubectl("describe node device")
    for pattern in ("^Labels:", "kubernetes.io/hostname=device", "^Capacity:", "cpu: +[0-9]", "memory: +[0-9]", "pods: +110",
                    "^Allocatable:", "Ready +True", "Operating System: +linux", "^Non-terminated Pods:"):
        expect_match(pattern, text, "describe node")
    kubectl("cordon device")
    expect_match(r"^device +Ready,SchedulingDisabled ", kubectl("get nodes"))
    kubectl("uncordon device")


@case
def describe():
    kubectl("create configmap told --from-literal=key=value")
    text = kubectl("describe configmap told")
    for pattern in ("^Name: +told", "^key:\n----\nvalue"):
        expect_match(pattern, text)
    expect_match("^key: +5 bytes", kubectl("describe secret told") if kubectl("create secret generic told --from-literal=key=value")
                 else "")
    expect_match("^Status: +Active", kubectl("describe namespace default"))


@case
def explain():
    text = kubectl("explain pod.spec.containers.livenessProbe")
    for pattern in ("^KIND: +Pod", "^VERSION: +v1", "FIELD: livenessProbe <Probe>|RESOURCE: livenessProbe <Object>", "initialDelaySeconds\t<integer>"):
        expect_match(pattern, text)
    expect_match("does not exist", refused("explain pod.spec.containerz"))
    expect_match("ephemeralContainers", kubectl("explain pod --recursive"))


@case
def discovery():
    text = kubectl("api-resources")
    for line in (r"^pods +po +v1 +true +Pod", r"^configmaps +cm +v1 +true +ConfigMap", r"^nodes +no +v1 +false +Node",
                 r"^namespaces +ns +v1 +false +Namespace", r"^serviceaccounts +sa +v1 +true", r"^events +ev +v1 +true"):
        expect_match(line, text)
    expect_match("^v1$", kubectl("api-versions"))
    expect_match(r"Server Version: (v1\.\d+|version.Info)", kubectl("version"))
    expect_match("unknown|doesn't have a resource type", refused("get nonsense"))
    expect_equal(json.loads(kubectl("get --raw /version"))["major"], "1")
    expect_match('"openapi": ?"3', kubectl("get --raw /openapi/v3/api/v1")[:200])


@case
def identity():
    expect_equal(kubectl("auth can-i create pods").strip(), "yes")
    expect_match(r"\*\.\*", kubectl("auth can-i --list"))
    code, out, _ = device.run(["kubectl", "--as=somebody", "auth", "can-i", "create", "pods"])
    expect_equal((code, out.split()[0] if out else ""), (1, "no"))


@case
def who_am_i():
    needs_kubectl("1.27", "auth whoami")
    expect_match("Groups +.*system:masters", kubectl("auth whoami"))


@case
def health_and_metrics():
    for path in ("/livez", "/readyz", "/healthz"):
        expect_equal(kubectl(f"get --raw {path}").strip(), "ok")
    expect_match(r"^\[\+\]\S+ ok$", kubectl(["get", "--raw", "/readyz?verbose"]))
    expect_match("^# TYPE ", kubectl("get --raw /metrics"))


@case
def events():
    device.api("POST", "/api/v1/namespaces/default/events", {
        "kind": "Event", "apiVersion": "v1", "metadata": {"name": "odd.1"}, "reason": "Odd", "type": "Warning",
        "message": "something odd", "involvedObject": {"kind": "Pod", "name": "odd", "namespace": "default"}})
    expect_match(r"^LAST SEEN +TYPE +REASON +OBJECT +MESSAGE$", kubectl("get events"))
    expect_match(r"Warning +Odd +pod/odd +something odd", kubectl("get events"))
    if kubectl_at_least("1.26"):
        expect_match(r"Warning +Odd +Pod/odd", kubectl("events --types=Warning"))


run(device)

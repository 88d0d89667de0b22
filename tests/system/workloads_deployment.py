#!/usr/bin/env python3
# timeout: 300
"""Deployments and replica sets, as people use them: create, scale, roll out, back and on, delete."""
import json
import os
import shutil
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Skip, case, eventually, expect, expect_equal, expect_match, run
from limpet import SCRATCH, pod_device

device = pod_device()
FIRST, SECOND, MISSING = (f"127.0.0.1:5000/web:{tag}" for tag in ("1", "2", "missing"))
for tag in ("1", "2"):
    device.registry.push(f"web:{tag}", {"Cmd": ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"], "Env": ["PATH=/bin", "TAG=" + tag]})
kubectl = device.kubectl
APPS = "/apis/apps/v1/namespaces/default"


def deployment(name, replicas=2, image=FIRST, **spec):
    template = {"metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 2, "containers": [{"name": "main", "image": image}]}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **spec}}


def pods(app, ending=False):
    found = device.api("GET", f"/api/v1/namespaces/default/pods?labelSelector=app%3D{app}")["items"]
    return [p for p in found if ending or "deletionTimestamp" not in p["metadata"]]


def sets(app):
    found = device.api("GET", f"{APPS}/replicasets?labelSelector=app%3D{app}")["items"]
    return {s["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: s for s in found}


def images(app):
    return sorted({p["spec"]["containers"][0]["image"] for p in pods(app)})


def condition(name, kind):
    status = device.api("GET", f"{APPS}/deployments/{name}")["status"]
    return next((c for c in status.get("conditions", []) if c["type"] == kind), {})


def rolled_out(name):
    out = kubectl(f"rollout status deploy/{name} --timeout=60s", timeout=70)
    expect_match(f'deployment "{name}" successfully rolled out', out)


@case
def created_and_scaled():
    kubectl(f"create deployment hello --image={FIRST} --replicas=2")
    rolled_out("hello")
    expect_match(r"^hello +2/2 +2 +2 +\d+s$", kubectl("get deploy hello"))
    expect_match(r"^hello +2/2 +2 +2 +\d+s +web +127.0.0.1:5000/web:1 +app=hello$", kubectl("get deployments.apps hello -o wide"))
    expect_match(r"^replicaset.apps/hello-[a-z0-9]{10} +2 +2 +2 +\d+s$", kubectl("get deploy,rs"))
    kubectl("scale deploy/hello --replicas=3")
    rolled_out("hello")
    expect_equal(len(pods("hello")), 3)
    expect_match("scaled", kubectl("scale deploy/hello --current-replicas=3 --replicas=1"))
    expect_match("Expected replicas to be 3", device.refused("scale deploy/hello --current-replicas=3 --replicas=1"))
    eventually(lambda: len(pods("hello", ending=True)) == 1, 20, "one pod is left")
    described = kubectl("describe deploy hello")
    name = next(iter(sets("hello").values()))["metadata"]["name"]
    for pattern in (r"Replicas: +1 desired \| 1 updated \| 1 total \| 1 available \| 0 unavailable", "Available +True +MinimumReplicasAvailable",
                    "Progressing +True +NewReplicaSetAvailable", rf"NewReplicaSet: +{name} \(1/1 replicas created\)",
                    f"ScalingReplicaSet .* Scaled up replica set {name} from 0 to 2", f"Scaled down replica set {name} from 3 to 1"):
        expect_match(pattern, described)
    described = kubectl(f"describe rs {name}")
    for pattern in ("Controlled By: +Deployment/hello", r"Replicas: +1 current / 1 desired", "SuccessfulCreate .* Created pod: " + name,
                    "SuccessfulDelete .* Deleted pod: " + name):
        expect_match(pattern, described)
    expect_equal(kubectl("get deploy hello -o jsonpath={.status.availableReplicas}"), "1")
    kubectl("wait --for=condition=Available deploy/hello --timeout=10s")


@case
def rolled_forward_and_back():
    device.apply(deployment("rolling", 3))
    rolled_out("rolling")
    kubectl("annotate deploy/rolling kubernetes.io/change-cause=first")
    kubectl(f"set image deploy/rolling main={SECOND}")
    kubectl("annotate deploy/rolling kubernetes.io/change-cause=second --overwrite")
    rolled_out("rolling")
    expect_equal(images("rolling"), [SECOND])
    expect_match(r"1 +first\n2 +second", kubectl("rollout history deploy/rolling"))
    expect_match("Image:\t" + FIRST, kubectl("rollout history deploy/rolling --revision=1"))
    kubectl("rollout undo deploy/rolling")
    rolled_out("rolling")
    eventually(lambda: images("rolling") == [FIRST], 20, "the first image is back")
    expect_match(r"2 +second\n3 +first", kubectl("rollout history deploy/rolling"))
    kubectl("rollout undo deploy/rolling --to-revision=2")
    rolled_out("rolling")
    eventually(lambda: images("rolling") == [SECOND], 20, "the second image is back")
    # What is applied again is rolled out again, and nothing is when nothing differs.
    expect_match("rolling configured", device.apply(deployment("rolling", 3)))
    rolled_out("rolling")
    expect_match("rolling unchanged", device.apply(deployment("rolling", 3)))
    expect_equal(sorted(sets("rolling")), ["4", "5"])


@case
def an_image_that_is_not_there():
    device.apply(deployment("unlucky", 2, progressDeadlineSeconds=4))
    rolled_out("unlucky")
    kubectl(f"set image deploy/unlucky main={MISSING}")
    said = device.refused("rollout status deploy/unlucky --timeout=60s", timeout=70)
    expect_match('deployment "unlucky" exceeded its progress deadline', said)
    expect_equal(condition("unlucky", "Progressing")["reason"], "ProgressDeadlineExceeded")
    expect_equal(condition("unlucky", "Available")["status"], "True")
    expect_match(r"^unlucky +2/2 +1 +2 ", kubectl("get deploy unlucky"))
    kubectl("rollout undo deploy/unlucky")
    rolled_out("unlucky")
    eventually(lambda: images("unlucky") == [FIRST] and len(pods("unlucky")) == 2, 20, "only good pods")


@case
def paused_resumed_restarted():
    device.apply(deployment("calm", 1))
    rolled_out("calm")
    kubectl("rollout pause deploy/calm")
    kubectl(f"set image deploy/calm main={SECOND}")
    kubectl("set resources deploy/calm --limits=memory=64Mi")
    eventually(lambda: condition("calm", "Progressing")["reason"] == "DeploymentPaused", 10, "paused")
    expect_equal(list(sets("calm")), ["1"])
    expect_match("can't restart paused deployment", device.refused("rollout restart deploy/calm"))
    kubectl("rollout resume deploy/calm")
    rolled_out("calm")
    expect_equal(images("calm"), [SECOND])
    expect_equal(sorted(sets("calm")), ["1", "2"])
    before = [p["metadata"]["name"] for p in pods("calm")]
    kubectl("rollout restart deploy/calm")
    rolled_out("calm")
    eventually(lambda: not set(before) & {p["metadata"]["name"] for p in pods("calm")}, 20, "other pods")
    expect("kubectl.kubernetes.io/restartedAt" in pods("calm")[0]["metadata"]["annotations"], "the pods carry the restart")


@case
def recreated():
    device.apply(deployment("single", 1, strategy={"type": "Recreate"}))
    rolled_out("single")
    kubectl(f"set image deploy/single main={SECOND}")
    rolled_out("single")
    eventually(lambda: images("single") == [SECOND] and len(pods("single", ending=True)) == 1, 20, "one pod, the new one")
    # Never two at a time: the new one was made after the old one had gone.
    events = device.api("GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dsingle")["items"]
    expect_match("Scaled down replica set .* from 1 to 0", json.dumps(events))


@case
def deleted_with_or_without_what_it_made():
    for policy in ("background", "foreground"):
        device.apply(deployment("going-" + policy, 2))
        rolled_out("going-" + policy)
        kubectl(f"delete deploy going-{policy} --cascade={policy} --timeout=30s")
        if policy == "foreground":  # what was made went first
            expect_equal((pods("going-foreground", ending=True), sets("going-foreground")), ([], {}))
        eventually(lambda p=policy: not pods("going-" + p, ending=True) and not sets("going-" + p), 20, f"all is gone ({policy})")
    device.apply(deployment("left", 2))
    rolled_out("left")
    kubectl("delete deploy left --cascade=orphan")
    eventually(lambda: "ownerReferences" not in sets("left")["1"]["metadata"], 10, "the replica set belongs to nobody")
    before = sorted(p["metadata"]["uid"] for p in pods("left"))
    expect_equal(len(before), 2)
    device.apply(deployment("left", 2))
    rolled_out("left")
    expect_equal(sorted(p["metadata"]["uid"] for p in pods("left")), before)
    # The same with the replica set: the one made in its place takes over the pods.
    old = sets("left")["1"]["metadata"]
    # Without waiting: kubectl waits for the name to be gone, which the new one has at once.
    kubectl(f"delete rs {old['name']} --cascade=orphan --wait=false")

    def taken_over():
        new = sets("left")["1"]["metadata"]["uid"]
        owners = {p["metadata"]["ownerReferences"][0]["uid"] for p in pods("left")}
        return new != old["uid"] and owners == {new}

    eventually(taken_over, 20, "the pods belong to another replica set")
    rolled_out("left")
    expect_equal(sorted(p["metadata"]["uid"] for p in pods("left")), before)
    kubectl("delete deploy left --timeout=30s")
    eventually(lambda: not pods("left", ending=True), 20, "no pods")


@case
def a_replica_set_alone():
    whole = deployment("plain", 2)
    whole["kind"] = "ReplicaSet"
    device.apply(whole)
    eventually(lambda: len(pods("plain")) == 2, 10, "two pods")
    taken = pods("plain")[0]["metadata"]["name"]
    kubectl(f"label pod {taken} app=elsewhere --overwrite")
    eventually(lambda: len(pods("plain")) == 2 and "ownerReferences" not in device.pod(taken)["metadata"], 10, "released and made up for")
    kubectl(f"label pod {taken} app=plain --overwrite")
    eventually(lambda: len(pods("plain", ending=True)) == 2, 15, "one too many went")
    kubectl("scale rs plain --replicas=0")
    eventually(lambda: not pods("plain", ending=True), 15, "none")
    kubectl("delete pod --ignore-not-found " + taken)


@case
def what_cannot_be_is_refused():
    wrong = deployment("wrong")
    wrong["spec"]["selector"]["matchLabels"] = {"app": "other"}
    expect_match("The Deployment \"wrong\" is invalid: spec.template.metadata.labels: Invalid value: .*`selector` does not match template `labels`",
                 device.refused("apply -f -", json.dumps(wrong)))
    wrong = deployment("wrong", replicas=-1)
    expect_match("spec.replicas: Invalid value: -1: must be greater than or equal to 0", device.refused("apply -f -", json.dumps(wrong)))
    wrong = deployment("wrong")
    wrong["spec"]["replica"] = 1
    expect_match('unknown field "(spec.)?replica"', device.refused("apply -f -", json.dumps(wrong)))
    expect_match("FIELD: +progressDeadlineSeconds", kubectl("explain deployment.spec.progressDeadlineSeconds"))


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: site\nversion: 0.1.0\n",
    "values.yaml": "image: " + FIRST + "\nreplicas: 2\n",
    "templates/deployment.yaml": """apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}", labels: {app: "{{ .Release.Name }}"}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {app: "{{ .Release.Name }}"}}
    spec:
      terminationGracePeriodSeconds: 2
      containers: [{name: main, image: "{{ .Values.image }}"}]
""",
}


@case
def a_helm_chart():
    if not shutil.which("helm"):
        raise Skip("no helm")
    chart = os.path.join(SCRATCH, "chart")
    for name, text in CHART.items():
        os.makedirs(os.path.dirname(os.path.join(chart, name)), exist_ok=True)
        with open(os.path.join(chart, name), "w", encoding="utf-8") as file:
            file.write(text)

    def helm(words):
        code, out, err = device.run("helm " + words, timeout=90)
        expect(code == 0, f"helm {words}: {out}{err}")
        return out

    expect_match("STATUS: deployed", helm(f"install site {chart} --wait --timeout 60s"))
    expect_equal((len(pods("site")), images("site")), (2, [FIRST]))
    helm(f"upgrade site {chart} --set image={SECOND} --wait --timeout 60s")
    eventually(lambda: images("site") == [SECOND], 20, "upgraded")
    helm("rollback site 1 --wait --timeout 60s")
    eventually(lambda: images("site") == [FIRST], 20, "rolled back")
    helm("uninstall site --wait --timeout 60s")
    eventually(lambda: not pods("site", ending=True) and not sets("site"), 20, "nothing left")


run(device)

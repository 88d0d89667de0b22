#!/usr/bin/env python3
# timeout: 300
"""Every state a pod is known to get into, for real: the STATUS column, states, conditions, events."""
import json
import os
import re
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import IMAGE, POD_TABLE, container_status, pod, pod_device

device = pod_device()
kubectl = device.kubectl

# All at once, since most of the time is waiting.
device.apply(
    pod("runs", 'echo hello; trap "exit 0" TERM; while true; do sleep 0.1; done'),
    pod("completes", "echo done", restartPolicy="Never"),
    pod("errs", "exit 3", restartPolicy="Never"),
    pod("loops", "echo once more; exit 1"),
    pod("eats", "exec dd if=/dev/zero of=/dev/null bs=200M count=10", restartPolicy="Never",
        container={"resources": {"limits": {"memory": "20Mi"}}}),
    pod("absent", container={"image": "127.0.0.1:5000/absent:1"}),
    pod("never", container={"image": "127.0.0.1:5000/absent:2", "imagePullPolicy": "Never"}),
    pod("nameless", container={"image": "127.0.0.1:5000/Not Good"}),
    pod("unconfigured", container={"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "a"}}}]}),
    pod("nocommand", container={"command": ["/no/such/program"]}, restartPolicy="Never"),
    pod("picky", nodeSelector={"zone": "moon"}),
    pod("huge", container={"resources": {"requests": {"cpu": "1000", "memory": "1Pi"}}}),
)


@case
def running():
    found = device.wait_status("runs", "Running")
    device.wait_ready_pod("runs")
    status = container_status(device.pod("runs"))
    expect(status["ready"] and status["started"] and status["state"]["running"]["startedAt"], json.dumps(status))
    expect_equal(status["restartCount"], 0)
    expect_match(r"127.0.0.1:5000/busybox@sha256:[0-9a-f]{64}$", status["imageID"])
    expect_match(r"^\w+://", status["containerID"])
    expect_match(r"^10\.42\.0\.\d+$", found["status"]["podIP"])
    expect_equal(found["status"]["qosClass"], "BestEffort")
    expect_match(r"^runs +1/1 +Running +0 +\S+ +10\.42\.0\.\d+ +device ", kubectl("get pod runs -o wide"))
    types = {c["type"]: c["status"] for c in device.pod("runs")["status"]["conditions"]}
    for kind in ("PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"):
        expect_equal(types.get(kind), "True", kind)
    device.wait_logs("runs", "hello\n")
    text = kubectl("describe pod runs")
    for pattern in ("^Status: +Running", "^Node: +device/", "QoS Class: +BestEffort", "State: +Running", "Normal +Scheduled ",
                    "Successfully assigned default/runs to device", "Normal +(Pulled|Pulling) ", "Normal +Created ", "Normal +Started "):
        expect_match(pattern, text, "describe")


@case
def completed():
    found = device.wait_status("completes", "Completed")
    expect_equal(found["status"]["phase"], "Succeeded")
    ended = container_status(found)["state"]["terminated"]
    expect_equal((ended["exitCode"], ended["reason"]), (0, "Completed"))
    ready = [c for c in found["status"]["conditions"] if c["type"] == "Ready"][0]
    expect_equal((ready["status"], ready.get("reason")), ("False", "PodCompleted"))
    expect_equal(kubectl("logs completes"), "done\n")


@case
def error():
    found = device.wait_status("errs", "Error")
    expect_equal(found["status"]["phase"], "Failed")
    ended = container_status(found)["state"]["terminated"]
    expect_equal((ended["exitCode"], ended["reason"]), (3, "Error"))


@case
def crash_loop():
    device.wait_status("loops", "CrashLoopBackOff", 60)
    status = container_status(device.wait_pod("loops", lambda p: container_status(p)["restartCount"] >= 2, 120))
    expect_equal(status["lastState"]["terminated"]["exitCode"], 1)
    # Between two looks it may have been started again.
    waiting = eventually(lambda: container_status(device.pod("loops"))["state"]["waiting"], 60, "it waits")
    expect_match(r"^back-off \d+s restarting failed container=main pod=loops_default\(", waiting["message"])
    expect_match("Warning +BackOff ", kubectl("describe pod loops"))
    line = r"^loops +0/1 +CrashLoopBackOff +\d+ \(\d+s ago\) "
    eventually(lambda: re.search(line, kubectl("get pod loops"), re.MULTILINE), 60, line, every=0.3)
    expect_equal(kubectl("logs loops --previous"), "once more\n")


@case
def out_of_memory():
    found = device.wait_status("eats", "OOMKilled")
    ended = container_status(found)["state"]["terminated"]
    expect_equal((ended["reason"], ended["exitCode"]), ("OOMKilled", 137))
    expect_equal(found["status"]["phase"], "Failed")


@case
def missing_image():
    before = device.api("GET", "/api/v1/namespaces/default/pods")["metadata"]["resourceVersion"]
    device.create(pod("again", container={"image": "127.0.0.1:5000/absent:3"}))
    device.wait_status("absent", "ImagePullBackOff", 40)
    waiting = container_status(device.pod("absent"))["state"]["waiting"]
    expect_match('Back-off pulling image "127.0.0.1:5000/absent:1"', waiting["message"])
    text = kubectl("describe pod absent")
    for pattern in ("Normal +Pulling ", "Warning +Failed .*Failed to pull image", "Warning +Failed .*Error: ErrImagePull",
                    "BackOff .*Back-off pulling image"):
        expect_match(pattern, text, "describe")
    device.wait_status("again", "ImagePullBackOff", 40)
    # What a watch from before its making sees.
    seen = device.api("GET", "/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Dagain"
                      f"&resourceVersion={before}", raw=True, headers={"Accept": POD_TABLE})
    expect_match('"ErrImagePull"', seen, "what a watch sees")


@case
def image_that_must_not_be_pulled():
    found = device.wait_status("never", "ErrImageNeverPull")
    expect_match("is not present with pull policy of Never", container_status(found)["state"]["waiting"]["message"])


@case
def image_name_that_is_none():
    device.wait_status("nameless", "InvalidImageName")


@case
def missing_config_map():
    found = device.wait_status("unconfigured", "CreateContainerConfigError")
    expect_match('configmap "absent" not found', container_status(found)["state"]["waiting"]["message"])
    kubectl("create configmap absent --from-literal=a=1")
    device.wait_status("unconfigured", "Running", 90)  # by itself, once it is there


@case
def missing_program():
    found = device.wait_pod("nocommand", lambda p: p["status"]["phase"] == "Failed")
    ended = container_status(found)["state"].get("terminated")
    expect(ended, json.dumps(found["status"]))
    expect_match("StartError|ContainerCannotRun", ended["reason"])
    expect_match("(?i)no such file", ended["message"])
    expect(ended["exitCode"] in (127, 128), str(ended))


@case
def unschedulable():
    def message(name):
        conditions = device.pod(name)["status"].get("conditions", [])
        return next(c["message"] for c in conditions if c["type"] == "PodScheduled" and c["reason"] == "Unschedulable")

    expect_match(r"^0/1 nodes are available: 1 node\(s\) didn't match Pod's node affinity/selector\.",
                 eventually(lambda: message("picky"), 60, "a reason"))
    expect_match(r"^0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory\.", eventually(lambda: message("huge"), 60, "a reason"))
    expect_match("^picky +0/1 +Pending ", kubectl("get pod picky"))
    expect_match("Warning +FailedScheduling .*0/1 nodes are available", kubectl("describe pod picky"))
    kubectl("label node device zone=moon")
    device.wait_status("picky", "Running")


def tainted():
    """There is one node only: pods of other cases would wait, and be told of the taint."""
    kubectl("taint node device wet=yes:NoSchedule")
    try:
        device.apply(pod("dry"), pod("swimmer", tolerations=[{"key": "wet", "operator": "Exists"}]))
        device.wait_status("swimmer", "Running")
        eventually(lambda: any("1 node(s) had untolerated taint" in e for e in device.events("dry")), 60, "the reason")
    finally:
        kubectl("taint node device wet-")
    device.wait_status("dry", "Running")


@case
def many_containers():
    several = pod("several", "sleep 100000")
    several["spec"]["containers"].append({"name": "second", "image": IMAGE, "command": ["sh", "-c", "sleep 100000"]})
    device.apply(several)
    device.wait_ready_pod("several")
    expect_match("^several +2/2 +Running", kubectl("get pod several"))
    device.api("DELETE", "/api/v1/namespaces/default/pods/several")
    device.wait_gone("several")


@case
def terminating():
    """The grace period is given, then SIGKILL comes; a process that listens goes at once."""
    device.apply(pod("stubborn", 'trap "" TERM; echo ready; while true; do sleep 0.1; done', terminationGracePeriodSeconds=10))
    device.wait_status("stubborn", "Running")
    device.wait_logs("stubborn", "ready\n")  # the trap is set
    kubectl("delete pod stubborn --wait=false")
    device.wait_status("stubborn", "Terminating")
    device.wait_gone("stubborn", 60)


run(device, last=[tainted])

#!/usr/bin/env python3
# timeout: 240
"""Probes by command, HTTP and TCP: not ready, killed and started again, held back until started. Hooks."""
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import container_status, is_ready, pod, pod_device

device = pod_device()
kubectl = device.kubectl
# A probe has time enough on a machine that is busy: only the case about time-outs has a short one.
FAST = {"periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 30}
SERVE = "mkdir /www; echo fine > /www/health; httpd -f -p 8080 -h /www"


def probe(**what):
    return {**FAST, **what}


@case
def readiness_by_command():
    device.apply(pod("ready-exec", "sleep 100000", container={"readinessProbe": probe(exec={"command": ["test", "-e", "/tmp/ready"]})}))
    device.wait_pod("ready-exec", lambda p: p["status"]["phase"] == "Running")
    eventually(lambda: any("Readiness probe failed" in e for e in device.events("ready-exec")), 60, "Unhealthy")
    expect_match("^ready-exec +0/1 +Running +0 ", kubectl("get pod ready-exec"))
    kubectl("exec ready-exec -- touch /tmp/ready")
    device.wait_ready_pod("ready-exec")
    kubectl("exec ready-exec -- rm /tmp/ready")
    device.wait_pod("ready-exec", lambda p: not is_ready(p), 60, "not ready again")
    expect_equal(container_status(device.pod("ready-exec"))["restartCount"], 0)


@case
def readiness_by_http():
    get = {"path": "/health", "port": 8080, "httpHeaders": [{"name": "X-Test", "value": "1"}]}
    device.apply(pod("ready-http", SERVE, container={"readinessProbe": probe(httpGet=get)}))
    device.wait_ready_pod("ready-http")
    kubectl("exec ready-http -- rm /www/health")
    device.wait_pod("ready-http", lambda p: not is_ready(p), 60, "not ready without the page")
    expect_match("HTTP probe failed with statuscode: 404", "\n".join(device.events("ready-http")))


@case
def readiness_by_port():
    device.apply(pod("ready-tcp", "touch /tmp/wait; while [ -e /tmp/wait ]; do sleep 0.1; done; " + SERVE, container={
        "ports": [{"name": "web", "containerPort": 8080}], "readinessProbe": probe(tcpSocket={"port": "web"})}))
    eventually(lambda: any("Readiness probe failed: dial tcp" in e for e in device.events("ready-tcp")), 60, "Unhealthy")
    kubectl("exec ready-tcp -- rm /tmp/wait")
    device.wait_ready_pod("ready-tcp")


@case
def liveness():
    device.apply(pod("alive", "touch /tmp/alive; exec sleep 100000",
                     container={"livenessProbe": probe(exec={"command": ["cat", "/tmp/alive"]}, initialDelaySeconds=1)}))
    device.wait_ready_pod("alive")
    kubectl("exec alive -- rm /tmp/alive")
    found = device.wait_pod("alive", lambda p: container_status(p)["restartCount"] == 1 and is_ready(p), 60, "it is started again")
    expect(container_status(found)["lastState"]["terminated"]["exitCode"] in (137, 143), str(container_status(found)))
    text = kubectl("describe pod alive")
    for pattern in ("Warning +Unhealthy .*Liveness probe failed: cat: can't open", "Normal +Killing .*Container main failed liveness probe, will be restarted"):
        expect_match(pattern, text)
    device.wait_ready_pod("alive")


@case
def liveness_by_http():
    device.apply(pod("alive-http", SERVE, container={"livenessProbe": probe(httpGet={"path": "/health", "port": 8080}, initialDelaySeconds=1)}))
    device.wait_ready_pod("alive-http")
    kubectl("exec alive-http -- rm /www/health")
    device.wait_pod("alive-http", lambda p: container_status(p)["restartCount"] >= 1, 60, "it is started again")


@case
def startup():
    """Until the startup probe succeeds there is no liveness probe, and the container is not started."""
    device.apply(pod("slow", container={
        "startupProbe": probe(exec={"command": ["test", "-e", "/tmp/up"]}, failureThreshold=600),
        "livenessProbe": probe(exec={"command": ["test", "-e", "/tmp/up"]}, failureThreshold=1)}))
    found = device.wait_pod("slow", lambda p: p["status"]["phase"] == "Running")
    expect_equal(container_status(found)["started"], False)
    kubectl("exec slow -- touch /tmp/up")
    found = device.wait_ready_pod("slow")
    expect_equal((container_status(found)["started"], container_status(found)["restartCount"]), (True, 0))


@case
def startup_that_fails():
    device.apply(pod("stuck", "sleep 100000", container={"startupProbe": probe(exec={"command": ["false"]}, failureThreshold=1)}))
    device.wait_pod("stuck", lambda p: container_status(p)["restartCount"] >= 1, 60, "it is started again")
    expect_match("Container main failed startup probe", "\n".join(device.events("stuck")))


@case
def timeout_of_a_probe():
    device.apply(pod("late", "sleep 100000", container={"readinessProbe": probe(exec={"command": ["sleep", "36000"]}, timeoutSeconds=1, periodSeconds=3600)}))
    eventually(lambda: any("Unhealthy" in e and "timed out" in e for e in device.events("late")), 60, "the time out is said")
    eventually(lambda: "sleep 36000" not in kubectl("exec late -- ps"), 30, "the probe's process ends", every=0.3)


@case
def hooks():
    device.apply(pod("hooked", 'echo up; trap "exit 0" TERM; while true; do sleep 0.1; done', container={
        "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "echo started > /tmp/post"]}},
                      "preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /proc/1/fd/1; sleep 1"]}}}},
        terminationGracePeriodSeconds=60))
    device.wait_ready_pod("hooked")
    expect_equal(kubectl("exec hooked -- cat /tmp/post"), "started\n")
    follower = device.popen("kubectl logs -f hooked")
    expect_equal(follower.stdout.readline(), "up\n")
    kubectl("delete pod hooked --wait=false")
    device.wait_gone("hooked", 60)
    out, _ = follower.communicate(timeout=20)
    expect_equal(out, "stopping\n")


run(device)

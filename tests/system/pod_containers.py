#!/usr/bin/env python3
# timeout: 240
"""Init containers, sidecars, restart policies, grace, command and arguments."""
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import IMAGE, container_status, pod, pod_device

device = pod_device()
device.registry.push("tool:1", {"Entrypoint": ["sh", "-c"], "Cmd": ["echo from the image; pwd; id -u"], "Env": ["PATH=/bin", "OWN=image"],
                                "WorkingDir": "/var/www", "User": "www"})
kubectl = device.kubectl


def shell(name, script, **more):
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], **more}


def shared(*containers, inits=(), **spec):
    """Containers that share the directory /shared."""
    mount = [{"name": "shared", "mountPath": "/shared"}]
    return {"volumes": [{"name": "shared", "emptyDir": {}}], "containers": [{**c, "volumeMounts": mount} for c in containers],
            "initContainers": [{**c, "volumeMounts": mount} for c in inits], **spec}


def ended(found, name, kind="containerStatuses"):
    return container_status(found, name, kind)["state"]["terminated"]


@case
def init_containers_in_order():
    device.apply(pod("ordered", **shared(shell("main", "cat /shared/steps; exec sleep 100000"),
                                         inits=[shell("first", "sleep 1; echo first >> /shared/steps"),
                                                shell("second", "echo second >> /shared/steps")])))
    device.wait_status("ordered", "Init:0/2|PodInitializing|Running")
    found = device.wait_ready_pod("ordered")
    device.wait_logs("ordered -c main", "first\nsecond\n")
    expect_equal(ended(found, "first", "initContainerStatuses")["reason"], "Completed")
    expect_match("^ordered +1/1 +Running", kubectl("get pod ordered"))


@case
def init_container_that_fails():
    device.apply(pod("held", initContainers=[shell("bad", "exit 4")]),
                 pod("given-up", initContainers=[shell("bad", "exit 4")], restartPolicy="Never"))
    device.wait_status("held", "Init:CrashLoopBackOff", 40)
    found = device.wait_status("given-up", "Init:Error")
    expect_equal((found["status"]["phase"], ended(found, "bad", "initContainerStatuses")["exitCode"]), ("Failed", 4))
    expect_equal(container_status(found)["state"]["waiting"]["reason"], "PodInitializing")


@case
def sidecar():
    """Starts before the main container, does not hold up the end, and outlives it while it stops."""
    device.apply(pod("escorted", **shared(
        shell("main", "cat /shared/side; while [ ! -e /shared/end ]; do sleep 0.1; done"), restartPolicy="Never", inits=[
            shell("side", 'echo side is up > /shared/side; trap "exit 0" TERM; while true; do sleep 0.1; done', restartPolicy="Always",
                  startupProbe={"exec": {"command": ["test", "-e", "/shared/side"]}, "periodSeconds": 1, "timeoutSeconds": 30})])))
    device.wait_status("escorted", "Running")
    device.wait_ready_pod("escorted")
    expect_match("^escorted +2/2 +Running", kubectl("get pod escorted"))
    kubectl("exec escorted -c side -- touch /shared/end")
    # The phase is told when nothing of the pod runs any more, the sidecar included.
    device.wait_pod("escorted", lambda p: p["status"]["phase"] == "Succeeded")
    device.wait_status("escorted", "Completed")
    expect_equal(kubectl("logs escorted -c main"), "side is up\n")


@case
def sidecar_restarts():
    device.apply(pod("steady", **shared(shell("main", "exec sleep 100000"),
                                        inits=[shell("side", "sleep 1; exit 1", restartPolicy="Always")])))
    device.wait_pod("steady", lambda p: container_status(p, "side", "initContainerStatuses")["restartCount"] >= 1, 60)
    expect_equal(container_status(device.pod("steady"))["restartCount"], 0)


@case
def restart_on_failure():
    device.apply(pod("until-good", **shared(shell("main", "echo x >> /shared/tries; [ $(wc -l < /shared/tries) -ge 2 ]"),
                                            restartPolicy="OnFailure")))
    found = device.wait_status("until-good", "Completed", 60)
    expect_equal((found["status"]["phase"], container_status(found)["restartCount"]), ("Succeeded", 1))


@case
def restart_always():
    device.apply(pod("again", "sleep 1"))
    found = device.wait_pod("again", lambda p: container_status(p)["restartCount"] >= 1 and container_status(p)["lastState"], 40)
    expect_equal(container_status(found)["lastState"]["terminated"]["reason"], "Completed")


@case
def one_of_two_fails():
    device.apply(pod("half", restartPolicy="Never", containers=[shell("good", "exit 0"), shell("bad", "exit 7")]))
    found = device.wait_pod("half", lambda p: p["status"]["phase"] == "Failed")
    expect_equal((ended(found, "good")["exitCode"], ended(found, "bad")["exitCode"]), (0, 7))


@case
def killed_by_a_signal():
    device.apply(pod("struck", "sleep 100000 & kill -9 $!; wait $!", restartPolicy="Never"))
    found = device.wait_pod("struck", lambda p: p["status"]["phase"] in ("Failed", "Succeeded"))
    expect_equal((ended(found, "main")["exitCode"], found["status"]["phase"]), (137, "Failed"))


@case
def deadline():
    device.apply(pod("dated", "exec sleep 100000", activeDeadlineSeconds=2))
    found = device.wait_pod("dated", lambda p: p["status"]["phase"] == "Failed", 60)
    expect_equal(found["status"].get("reason"), "DeadlineExceeded")


@case
def termination_message():
    device.apply(pod("last-words", "echo it broke > /dev/termination-log; exit 1", restartPolicy="Never"),
                 pod("log-words", "echo said it; exit 1", restartPolicy="Never",
                     container={"terminationMessagePolicy": "FallbackToLogsOnError"}))
    for name, words in (("last-words", "it broke\n"), ("log-words", "said it\n")):
        found = device.wait_pod(name, lambda p: p["status"]["phase"] == "Failed")
        expect_equal(ended(found, "main").get("message"), words, name)


@case
def image_settings():
    """Entrypoint, command, user and directory of the image, replaced as Kubernetes replaces them."""
    tool = {"name": "main", "image": "127.0.0.1:5000/tool:1"}
    device.apply(pod("as-is", restartPolicy="Never", containers=[tool]),
                 pod("new-args", restartPolicy="Never", containers=[{**tool, "args": ["echo args $OWN"]}]),
                 pod("new-command", restartPolicy="Never", containers=[{**tool, "command": ["echo", "$(OWN)", "$(NAME)", "$$(NAME)"],
                                                                     "env": [{"name": "NAME", "value": "limpet"}], "workingDir": "/"}]))
    for name, words in (("as-is", "from the image\n/var/www\n33\n"), ("new-args", "args image\n"),
                        ("new-command", "$(OWN) limpet $(NAME)\n")):
        device.wait_status(name, "Completed")
        expect_equal(kubectl(f"logs {name}"), words, name)


@case
def grace():
    """TERM first; what takes longer than the grace period is killed, what does not is waited for."""
    device.apply(pod("polite", 'trap "sleep 1; echo bye; exit 0" TERM; echo up; while true; do sleep 0.1; done',
                     terminationGracePeriodSeconds=20))
    follower = device.popen("kubectl logs -f polite --pod-running-timeout=20s") if device.wait_status("polite", "Running") else None
    expect_equal(follower.stdout.readline(), "up\n")
    kubectl("delete pod polite", timeout=30)
    expect_equal(follower.communicate(timeout=20)[0], "bye\n")


@case
def deletion_at_once():
    device.apply(pod("forced", 'trap "" TERM; while true; do sleep 0.1; done', terminationGracePeriodSeconds=600))
    device.wait_status("forced", "Running")
    kubectl("delete pod forced --force --grace-period=0")
    device.wait_gone("forced", 60)


run(device)

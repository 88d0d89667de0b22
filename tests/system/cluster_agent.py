#!/usr/bin/env python3
# timeout: 420
"""A device that only runs pods: it joins, runs them, is reached for logs and exec, loses its server, and comes back."""
import os
import signal
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, expect_match, run
from cluster import Cluster
from limpet import container_status, is_ready, pod

cluster = Cluster(2, registry=True)
agent = cluster.add("field-1", registry=True)
cluster.start(2)
one, two = cluster.devices[:2]


def on_agent(name, script="exec sleep 100000"):
    return pod(name, script, nodeName="field-1")


@case
def joins():
    agent.configure(role="agent", join={"url": one.url, "token": cluster.token(role="agent")})
    agent.registry.start().wait().push()
    agent.start_daemon(wait=False)

    def ready():
        node = one.api("GET", "/api/v1/nodes/field-1")
        return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])

    eventually(ready, 40, "the agent's Node is ready")
    expect_match("field-1", one.kubectl("get nodes"))
    expect("field-1" not in [m["name"] for m in cluster.status()["members"]], "an agent is no server")


@case
def runs_pods_and_is_reached():
    one.create(on_agent("web", "echo hello from the field; exec sleep 100000"))
    one.wait_ready_pod("web", 60)
    for device in (one, two):
        eventually(lambda: device.kubectl("logs web") == "hello from the field\n", 20, f"logs through {device.name}")
        expect_equal(device.kubectl("exec web -- echo through").strip(), "through")
    code, _, _ = two.run("kubectl exec web -- sh -c 'exit 7'")
    expect_equal(code, 7)


@case
def its_own_command_shows_its_pods():
    out = cluster.limpet(agent, "ps")
    expect_match("web", out)
    expect_match("hello from the field", cluster.limpet(agent, "logs web"))


@case
def goes_on_while_cut_off_and_tells_later():
    before = container_status(one.pod("web"))
    cluster.cut(agent, "both")
    expect_match("web", cluster.limpet(agent, "ps"))
    for pid in agent.container_pids():
        os.kill(pid, signal.SIGKILL)
    eventually(agent.container_pids, 30, "the container runs again without any server")
    cluster.heal()
    one.wait_pod("web", lambda p: container_status(p)["restartCount"] == before["restartCount"] + 1 and is_ready(p), 90,
                 "the restart is told")


@case
def takes_another_server_when_its_own_is_gone():
    leader = cluster.leader([one, two])
    if leader is not one:
        raise Failure("of two servers the first is the one that votes")
    two.kill()
    eventually(lambda: one.kubectl("logs web").startswith("hello"), 60, "logs through the server that is left")
    two.start_daemon()
    eventually(lambda: two.kubectl("exec web -- echo again").strip() == "again", 60, "exec through the one that came back")


@case
def leaves():
    cluster.limpet(one, "node remove field-1")
    eventually(lambda: "field-1" not in one.names("/api/v1/nodes"), 20, "its Node is gone")
    eventually(lambda: "web" not in one.names("/api/v1/namespaces/default/pods"), 90, "its pods are gone")


run(cluster, at_once=1)

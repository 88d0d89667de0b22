#!/usr/bin/env python3
# timeout: 420
"""A server and an agent that join by their configuration; what Kubernetes, `limpet status` and /metrics say of them; silence and
return; a Node that is deleted; a stolen certificate."""
import http.client
import os
import shutil
import signal
import socket
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run, skip
from cluster import Cluster
from limpet import is_ready, pod

if not shutil.which("curl"):
    skip("no curl")
cluster = Cluster(2)
field = cluster.add("field-1", registry=True)
one, two = cluster.devices[:2]
one.start()


def node(name):
    return one.api("GET", "/api/v1/nodes/" + name)


def condition(name, kind="Ready"):
    return next(c["status"] for c in node(name)["status"]["conditions"] if c["type"] == kind)


def taints(name):
    return [t["key"] for t in node(name)["spec"].get("taints", [])]


def token_file(device, text, mode=0o600):
    path = os.path.join(device.home, "etc", "token")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.chmod(path, mode)
    return path


def log(device):
    with open(device.log_file, encoding="utf-8", errors="replace") as file:
        return file.read()


def status(device):
    return " ".join(cluster.limpet(device, "status").split())


@case
def a_server_joins_by_its_configuration():
    missing = os.path.join(two.home, "etc", "token")
    two.configure(join={"url": one.url, "tokenFile": missing})
    two.start_daemon(wait=False)
    eventually(lambda: two.process.poll() is not None, 20, "without its token it ends")
    expect_equal(two.process.returncode, 1)
    two.process = None
    expect_match("join.tokenFile: .*" + missing, two.log_tail(5))
    token_file(two, cluster.token(options="--uses 1"))
    two.start()
    eventually(lambda: cluster.member("edge-2"), 40, "edge-2 is a member")
    expect("others than root" not in log(two), "the file is for root alone")
    # Used once: neither the file nor the token is wanted again.
    os.remove(missing)
    expect_equal(two.stop(), 0)
    two.start()
    eventually(lambda: cluster.status(two)["leader"] == "edge-1", 30, "it is a server of that cluster")


@case
def an_agent_joins_by_its_configuration():
    path = token_file(field, cluster.token(role="agent", options="--uses 1"), 0o644)
    field.configure(role="agent", join={"url": two.url, "tokenFile": path})
    field.registry.start().wait().push()
    field.start_daemon(wait=False)
    eventually(lambda: condition("field-1") == "True", 40, "the agent's Node is ready")
    expect_match("others than root may use the join token.*" + path, log(field))
    os.remove(path)
    expect_equal(field.stop(), 0)
    field.start_daemon(wait=False)
    one.create(pod("web", nodeName="field-1"))
    one.wait_ready_pod("web", 60)


@case
def roles_are_shown_as_they_are():
    rows = {row.split()[0]: row.split()[1:3] for row in one.kubectl("get nodes --no-headers").splitlines()}
    expect_equal(rows, {"edge-1": ["Ready", "control-plane"], "edge-2": ["Ready", "control-plane"], "field-1": ["Ready", "<none>"]})
    labels = node("field-1")["metadata"]["labels"]
    expect_equal([key for key in labels if key.startswith("node-role.")], [])
    for name in rows:
        expect_equal(taints(name), [], name)
    expect_equal(one.kubectl("get nodes -l node-role.kubernetes.io/control-plane -o name").split(), ["node/edge-1", "node/edge-2"])


@case
def an_agent_says_who_holds_it():
    eventually(lambda: "held by edge-" in status(field), 20, "it is held")
    text = status(field)
    expect_match(r"role: agent, held by edge-[12] for \d", text)
    expect_match(r"reported: heartbeat \d+s ago, Node confirmed \d+\w+ ago", text)
    expect("still to be told" not in text and "store:" not in text, text)
    expect_match("role: server", status(one))


def socket_text(device, path):
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(os.path.join(device.run_dir, "limpet.sock"))
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    expect_equal(answer.status, 200, path)
    return text


@case
def an_agent_has_metrics():
    text = socket_text(field, "/metrics")
    for line in (r"^process_resident_memory_bytes [1-9]", r"^limpet_loop_turn_seconds_count [1-9]", r'^limpet_agent_link_up\{server="edge-[12]"\} 1$',
                 r"^limpet_agent_link_connects_total [1-9]", r'^limpet_heartbeats_total\{result="heard"\} [1-9]',
                 r'^limpet_http_requests_total\{listener="socket"\} [1-9]', r'^limpet_tls_handshakes_total\{result="ok"\} [1-9]',
                 r'^limpet_image_pulls_total\{result="ok"\} [1-9]', r'^container_memory_working_set_bytes\{.*pod="web"'):
        expect_match(line, text)
    expect("apiserver_" not in text and "limpet_store_" not in text, "what an agent does not have")
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    expect_equal(len(families), len(set(families)), "families that are told once")
    of_server = socket_text(one, "/metrics")
    for name in ("apiserver_request_total", "limpet_store_keys", "limpet_loop_handles", "limpet_tls_connections"):
        expect_equal(of_server.count(f"# TYPE {name} "), 1, name)


@case
def devices_that_were_silent_set_right_what_was_said_of_them():
    cluster.cut(field, "both")
    os.kill(two.process.pid, signal.SIGSTOP)
    try:
        eventually(lambda: "cut off from all servers for" in status(field), 60, "the agent says that it is cut off", every=0.5)
        for name in ("field-1", "edge-2"):
            eventually(lambda: condition(name) == "Unknown", 90, f"{name} is Unknown", every=0.5)
        # Two of three are more than 55 %: taints that evict stay away.
        eventually(lambda: "node.kubernetes.io/unreachable" in taints("field-1"), 10, "the taint")
        eventually(lambda: not is_ready(one.pod("web")), 20, "its pod is not ready")
        # Another term, whose leader knows nothing of before.
        one.stop()
        one.start()
    finally:
        os.kill(two.process.pid, signal.SIGCONT)
        cluster.heal()
    for name in ("field-1", "edge-2"):
        eventually(lambda: condition(name) == "True" and condition(name, "MemoryPressure") == "False", 45, f"{name} is ready again")
        eventually(lambda: taints(name) == [], 15, f"the taints of {name} are gone")
    one.wait_ready_pod("web", 45)
    eventually(lambda: "held by edge-" in status(field), 30, "the agent is held again")


@case
def a_node_that_was_deleted_comes_back():
    for device in (field, two):
        old, pid = node(device.name)["metadata"]["uid"], device.process.pid
        one.kubectl(f"delete node {device.name}")
        eventually(lambda: node(device.name)["metadata"]["uid"] != old and condition(device.name) == "True", 40, f"{device.name} is back")
        expect_equal((device.process.poll(), device.process.pid), (None, pid), "the same process")
    one.wait_ready_pod("web", 30)


@case
def a_stolen_certificate_ends_at_once():
    for name in ("node.crt", "node.key"):
        shutil.copy(os.path.join(field.data_dir, "pki", name), os.path.join(one.home, name))
    stolen = ["curl", "-skN", "--cert", os.path.join(one.home, "node.crt"), "--key", os.path.join(one.home, "node.key")]
    query = "?watch=true&fieldSelector=spec.nodeName%3Dfield-1"
    watches = [one.popen(stolen + [server.url + "/api/v1/pods" + query]) for server in (one, two)]
    for watch in watches:
        expect_match('"ADDED"', watch.stdout.readline())
    logs = two.popen("kubectl logs -f web")
    time.sleep(1)
    expect(all(p.poll() is None for p in (*watches, logs)), "they are open")
    cluster.limpet(two, "node revoke field-1")
    began = time.monotonic()
    for watch in watches:
        watch.wait(10)
    logs.wait(10)
    expect(time.monotonic() - began < 5, f"they ended after {time.monotonic() - began:.1f} s")
    for server in (one, two):
        code, out, _ = one.run(stolen + ["-o", "/dev/null", "-w", "%{http_code}", server.url + "/api/v1/pods" + query])
        expect_equal((code, out), (0, "401"), server.name)
        expect_equal(server.api("GET", "/limpet/v1/status")["agents"], [], f"{server.name} holds no agent")
    eventually(lambda: "cut off from all servers" in status(field), 20, "the device is cut off")
    eventually(lambda: "field-1" not in one.names("/api/v1/nodes"), 20, "its Node is gone")
    time.sleep(8)
    expect("field-1" not in one.names("/api/v1/nodes"), "its Node stays away")


@case
def a_server_that_was_removed_leaves_no_node():
    cluster.limpet(one, "node remove edge-2")
    eventually(lambda: one.names("/api/v1/nodes") == ["edge-1"], 20, "its Node is gone")
    for _ in range(16):
        time.sleep(0.5)
        expect_equal(one.names("/api/v1/nodes"), ["edge-1"], "and stays away")


run(cluster, at_once=1)

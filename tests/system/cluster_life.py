#!/usr/bin/env python3
# timeout: 300
"""What the service manager hears while a device joins, a device that waits to be let in, and `limpet join` on devices that
run, do not run, and were removed."""
import os
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from cluster import Cluster
from limpet import config_map

cluster = Cluster(3, names=["edge-1", "edge-2", "edge-3"])
one, two, three = cluster.devices
one.start()


class Manager(threading.Thread):
    """The service manager's end of sd_notify: messages with the time at which they came."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.path = os.path.join(device.home, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.came = []
        self.start()

    def run(self):
        while True:
            text = self.socket.recv(4096).decode()
            self.came.append((time.monotonic(), text))

    def environment(self, watchdog_s):
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}

    def texts(self):
        return [text for _, text in self.came]

    def count(self, word):
        return sum(word in text for text in self.texts())


def plain(text):
    return " ".join(text.split())


@case
def a_join_is_a_reload_for_the_service_manager():
    manager = Manager(two)
    watchdog = 10.0
    two.configure()
    two.start_daemon(environment=manager.environment(watchdog))
    eventually(lambda: manager.count("READY=1") == 1, 20, "READY at the start")
    pid = two.process.pid
    token = cluster.token()
    began = len(manager.came)
    cluster.limpet(two, f"join {one.url} {token} --role server")
    eventually(lambda: cluster.member("edge-2"), 40, "edge-2 is a member")
    eventually(lambda: manager.count("READY=1") == 2, 40, "READY is said again")
    expect_equal(manager.count("STOPPING=1"), 0, "a process that goes on does not stop")
    said = manager.texts()[began:]
    reloading = next(i for i, text in enumerate(said) if "RELOADING=1" in text)
    expect_match(r"MONOTONIC_USEC=\d+", said[reloading])
    expect(any("READY=1" in text for text in said[reloading:]), f"RELOADING is not followed by READY: {said}")
    fed = [at for at, text in manager.came if text.startswith("WATCHDOG=1")]
    longest = max(b - a for a, b in zip(fed, fed[1:]))
    expect(longest < watchdog, f"the watchdog was not fed for {longest:.1f} s")
    after = next(at for at, text in manager.came if "READY=1" in text and at > manager.came[began][0])
    eventually(lambda: [at for at, text in manager.came if text.startswith("WATCHDOG=1") and at > after], 20,
               "the watchdog is fed by the program that began anew")
    expect_equal(two.process.poll(), None, "it is the same process")
    expect_equal(two.process.pid, pid)
    expect_equal(two.stop(), 0, "exit status")
    expect_equal(manager.count("STOPPING=1"), 1, "a stop is told as one")
    two.start_daemon()


@case
def waiting_to_be_let_in():
    manager = Manager(three)
    three.configure(join={"url": "https://10.99.0.250:6443", "token": cluster.token()})
    three.start_daemon(wait=False, environment=manager.environment(10))
    eventually(lambda: manager.count("STATUS=waits to be let in by https://10.99.0.250:6443: "), 60, "it says for whom it waits")
    text = plain(cluster.limpet(three, f"join {one.url} {cluster.token()}", status=1))
    expect_match("waits to be let in.*SIGHUP", text)
    three.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    expect_equal(manager.count("READY=1"), 0, "READY by a reload")
    process = three.process
    expect_equal(three.stop(), 0, "exit status of one that waits")
    expect_equal(process.returncode, 0)
    three.start_daemon(wait=False, environment=manager.environment(10))
    eventually(lambda: manager.count("STATUS=waits") > 1, 60, "it waits again")
    three.configure(join={"url": one.url, "token": cluster.token(role="agent")}, role="agent")
    three.process.send_signal(signal.SIGHUP)
    # The role is not taken over by a reload: a token for agents lets no server in.
    eventually(lambda: three.process.poll() is not None, 40, "it is refused")
    expect_match("agent", three.log_tail(5))
    three.process = None
    three.configure(join={"url": "https://10.99.0.250:6443", "token": cluster.token(role="agent")}, role="agent")
    before = manager.count("STATUS=waits")
    three.start_daemon(wait=False, environment=manager.environment(10))
    eventually(lambda: manager.count("STATUS=waits") > before, 60, "it waits as an agent")
    three.configure(join={"url": one.url, "token": cluster.token(role="agent")}, role="agent")
    three.process.send_signal(signal.SIGHUP)
    eventually(lambda: "edge-3" in one.names("/api/v1/nodes"), 40, "the agent is let in by the server that it was told of")
    eventually(lambda: manager.count("READY=1") == 1, 40, "READY once it serves")


@case
def an_agent_that_was_removed_joins_again():
    old = one.api("GET", "/api/v1/nodes/edge-3")["metadata"]["uid"]
    cluster.limpet(cluster.leader([one, two]), "node remove edge-3")
    eventually(lambda: "edge-3" not in one.names("/api/v1/nodes"), 20, "its Node is gone")
    text = plain(cluster.limpet(three, f"join {one.url} {cluster.token()} ", status=1))
    expect_match("server", text)  # the token is for servers, it asks as the agent that it is
    cluster.limpet(three, f"join {one.url} {cluster.token(role='agent')}")
    node = lambda: one.api("GET", "/api/v1/nodes/edge-3")
    eventually(lambda: node()["metadata"]["uid"] != old, 40, "it has a Node again")
    # The same with limpetd off.
    old = node()["metadata"]["uid"]
    cluster.limpet(cluster.leader([one, two]), "node remove edge-3")
    eventually(lambda: "edge-3" not in one.names("/api/v1/nodes"), 20, "its Node is gone")
    three.stop()
    text = plain(cluster.limpet(three, f"join {one.url} {cluster.token(role='agent')}"))
    expect_match("start it", text)
    three.start_daemon(wait=False)
    eventually(lambda: node()["metadata"]["uid"] != old, 40, "it has a Node again")


@case
def keys_that_are_passed_over_are_told():
    three.stop()
    cluster.limpet(three, "reset --yes")
    cluster.limpet(cluster.leader([one, two]), "node remove edge-3")
    three.configure()
    three.start_daemon()
    three.create(config_map("mine"))
    text = plain(cluster.limpet(three, f"join {one.url} {cluster.token()}", status=1))
    expect_match("holds 1 configmaps, which joining would give up: --discard", text)
    three.stop()
    three.configure(join={"url": one.url, "token": cluster.token()})
    three.start_daemon()
    expect_match("the keys below join are passed over.*limpet join URL TOKEN", open(three.log_file).read())
    three.stop()
    three.configure(join={"url": one.url, "token": cluster.token()}, role="agent")
    three.start_daemon(wait=False)
    eventually(lambda: three.process.poll() is not None, 20, "an agent cannot have a cluster of its own")
    expect_equal(three.process.returncode, 1)
    three.process = None
    expect_match("limpet join URL TOKEN --discard", three.log_tail(5))


@case
def an_order_to_a_device_that_does_not_run():
    for words, reason in ((f"{one.url} nonsense", "token"), (f"http://{one.address}:6443 {cluster.token()}", "https://"),
                          (f"{one.url} {cluster.token()}", "--discard")):
        expect_match(reason, plain(cluster.limpet(three, f"join {words} --role server", status=1)))
    # One that is refused leaves the device what it was.
    used = cluster.token(role="agent")
    cluster.limpet(three, f"join {one.url} {used} --role server --discard")
    three.configure()
    three.start_daemon(wait=False)
    eventually(lambda: three.process.poll() is not None, 40, "it is refused")
    three.process = None
    three.start_daemon()
    expect("mine" in three.names("/api/v1/namespaces/default/configmaps"), "the device lost what it was")
    three.stop()
    cluster.limpet(three, f"join {one.url} {cluster.token()} --role server --discard")
    three.start_daemon()
    eventually(lambda: cluster.member("edge-3"), 40, "edge-3 is a member")
    expect("mine" not in three.names("/api/v1/namespaces/default/configmaps"), "its own cluster is over")
    three.stop()
    text = plain(cluster.limpet(three, f"join {one.url} {cluster.token()} --discard", status=1))
    expect_match("server of a cluster already", text)
    three.start_daemon()


run(cluster, at_once=1)

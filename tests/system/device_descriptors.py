#!/usr/bin/env python3
# timeout: 180
"""The daemon runs out of descriptors: it waits instead of spinning, what is open is served, pods keep running, and when
some are free again everything works without a restart."""
import os
import socket
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import config_map, container_status, pod, pod_device

device = pod_device()
device.create(pod("keeps"))
device.wait_ready_pod("keeps", 60)
MAPS = "/api/v1/namespaces/default/configmaps"
TICKS = os.sysconf("SC_CLK_TCK")


def open_files():
    return len(os.listdir(f"/proc/{device.process.pid}/fd"))


def cpu_seconds():
    with open(f"/proc/{device.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@case
def exhausted():
    container = container_status(device.pod("keeps"))["containerID"]
    device.stop()
    device.prefix = ["prlimit", "--nofile=4096:4096"]
    device.start_daemon()
    device.prefix = []
    device.wait_ready_pod("keeps")
    limit = open_files() + 12
    device.run(["prlimit", f"--pid={device.process.pid}", f"--nofile={limit}:4096"])
    clients = []
    # Through the socket, which has no bound of its own, until nobody is let in any more.
    for _ in range(60):
        client = socket.socket(socket.AF_UNIX)
        client.connect(device.run_dir + "/limpet.sock")
        clients.append(client)
    first = clients[0]
    first.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
    first.settimeout(10)
    expect_match("200 OK", first.recv(1000).decode("latin-1"), "who is in")
    eventually(lambda: open_files() >= limit - 1, 10, "the descriptors are used up")
    began, cpu = time.monotonic(), cpu_seconds()
    lines = os.path.getsize(device.log_file)
    time.sleep(4)
    used = (cpu_seconds() - cpu) / (time.monotonic() - began)
    expect(used < 0.3, f"it spins: {used:.2f} of a processor")
    expect(os.path.getsize(device.log_file) - lines < 20000, "a flood of lines")
    first.sendall(b"GET " + MAPS.encode() + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    expect_match("200 OK", first.recv(200).decode("latin-1"), "who is in, later")
    for client in clients:
        client.close()
    eventually(lambda: device.api("POST", MAPS, config_map("after"))["metadata"]["name"], 20, "a write afterwards", 0.2)
    device.run(["prlimit", f"--pid={device.process.pid}", "--nofile=4096:4096"])
    device.create(pod("new"))
    device.wait_ready_pod("new", 60)
    expect_equal(container_status(device.pod("keeps"))["containerID"], container, "the container")
    expect_equal(container_status(device.pod("keeps"))["restartCount"], 0, "restarts")
    expect_match("hello", device.kubectl("exec keeps -- echo hello"))


run(device, at_once=1)

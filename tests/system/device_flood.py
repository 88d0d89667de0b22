#!/usr/bin/env python3
# timeout: 180
# parallel: yes
"""Thousands of connections that say nothing, or begin a handshake and stop: counted, and kubectl goes on."""
import os
import re
import resource
import shutil
import socket
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, run, skip
from limpet import Device

if not shutil.which("kubectl"):
    skip("no kubectl")
most_descriptors = 4096
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, most_descriptors), hard))
device = Device(registry=False)
device.runs_pods = False
device.start()


def metric(name):
    text = device.api("GET", "/metrics", raw=True)
    return sum(float(line.split()[-1]) for line in text.splitlines() if re.match(re.escape(name) + r"(\{| )", line))


def descriptors():
    return len(os.listdir(f"/proc/{device.process.pid}/fd"))


def written_kb():
    """Memory that it wrote to; pages of the program itself, which only it maps here, are not the strangers' doing."""
    with open(f"/proc/{device.process.pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))


def flood(bytes_sent, connections=1500):
    """Opens them all and keeps them; whatever the daemon closes meanwhile is its right."""
    out = []
    for _ in range(connections):
        one = socket.socket()
        one.settimeout(10)
        try:
            one.connect(("127.0.0.1", 6443))
            if bytes_sent:
                one.sendall(bytes_sent)
        except OSError:
            pass
        out.append(one)
    return out


@case
def strangers_cost_little():
    device.kubectl("get namespaces")
    handles, memory = descriptors(), written_kb()
    for bytes_sent in (b"", b"\x16\x03\x01\x02\x00\x01"):
        held = flood(bytes_sent)
        # At most limits of tls::Engine: 256 in the handshake, 32 of them with a session; and kubectl's own.
        expect(descriptors() - handles <= 256 + 16, f"{descriptors() - handles} descriptors")
        expect(metric("limpet_tls_connections") <= 32 + 8, f"{metric('limpet_tls_connections')} sessions")
        grown = written_kb() - memory
        expect(grown < 8192, f"{grown} KB more for strangers")
        eventually(lambda: device.kubectl("get namespaces", timeout=20), 60, "kubectl during the flood")
        for one in held:
            one.close()
        eventually(lambda: descriptors() <= handles + 4, 30, "descriptors are given back")
    eventually(lambda: metric("limpet_tls_connections") <= 2, 30, "sessions are given back")
    eventually(lambda: written_kb() - memory < 1024, 10, "memory is given back")


run(device, at_once=1)

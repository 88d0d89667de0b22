#!/usr/bin/env python3
# parallel: yes
"""Lists that are longer than any buffer, read over TLS and the socket while others write: every object once."""
import collections
import json
import os
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, expect, expect_equal, run
from limpet import Device, config_map

PATH = "/api/v1/namespaces/default/configmaps"
LARGE, SMALL = 300, 1500
device = Device(registry=False).start()


def post(body):
    device.api("POST", PATH, body)


for number in range(LARGE + SMALL):
    post(config_map(f"p{number:05}", k="x" * (6000 if number < LARGE else 800)))


def connect(kind):
    if kind == "socket":
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(device.run_dir + "/limpet.sock")
        return stream
    pki = device.data_dir + "/pki/"
    context = ssl.create_default_context(cafile=pki + "ca.crt")
    context.load_cert_chain(pki + "admin.crt", pki + "admin.key")
    return context.wrap_socket(socket.create_connection(("127.0.0.1", 6443)), server_hostname="127.0.0.1")


def get(kind, path, pause):
    """The list, read in small pieces with a pause after each, so that the server's queue fills and drains."""
    stream = connect(kind)
    stream.settimeout(60)
    stream.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
    text = bytearray()
    while piece := stream.recv(65536):
        text += piece
        time.sleep(pause)
    stream.close()
    return json.loads(bytes(text).split(b"\r\n\r\n", 1)[1])


class Writer:
    def __enter__(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.write)
        self.thread.start()

    def write(self):
        number = 0
        while not self.over.is_set():
            post(config_map(f"z{threading.get_ident()}-{number}"))
            number += 1

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def check(items, what):
    counted = collections.Counter(i["metadata"]["name"] for i in items)
    doubled = [name for name, times in counted.items() if times > 1]
    expect(not doubled, f"{what}: {len(doubled)} objects more than once, {doubled[:3]}")
    expect_equal(sum(name.startswith("p") for name in counted), LARGE + SMALL, what)


@case
def whole_lists():
    with Writer():
        for kind in ("socket", "tls"):
            for pause in (0, 0.0005, 0.002):
                check(get(kind, PATH, pause)["items"], f"{kind}, pause {pause}")


@case
def pages():
    with Writer():
        for kind in ("socket", "tls"):
            items, token = [], ""
            while True:
                page = get(kind, f"{PATH}?limit=700" + (f"&continue={token}" if token else ""), 0.0005)
                items += page["items"]
                token = page["metadata"].get("continue")
                if not token:
                    break
            check(items, f"{kind} in pages")


@case
def by_kubectl():
    with Writer():
        for chunk in (0, 500):
            names = device.kubectl(f"get configmap -o name --chunk-size={chunk}").split()
            check([{"metadata": {"name": n.split("/")[1]}} for n in names], f"kubectl --chunk-size={chunk}")


run(device, at_once=1)

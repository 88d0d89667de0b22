"""Rows of memory and CPU."""
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

from case import Failure, eventually
from limpet import BUILD, PROGRAMS, SCRATCH, pod
from measure import (Missing, Running, all_of_ours, cpu_seconds, credentials, delete_pods, load, note, ours, peer_program,
                     pss_kb, pss_of_all, row, settled, start_pods, tree_of)
from zstd_image import ZstdImage


class Containerd:
    """Debian's containerd with its default plugins, alone."""

    def __init__(self):
        program = peer_program("containerd")
        if not program:
            raise Missing("no containerd")
        self.home = os.path.join(SCRATCH, "containerd")
        self.address = os.path.join(self.home, "sock")
        os.makedirs(self.home, exist_ok=True)
        environment = {**os.environ, "PATH": os.path.dirname(program) + ":" + os.environ["PATH"]}
        self.environment = environment
        with open(os.path.join(self.home, "log"), "wb") as log:
            self.process = subprocess.Popen(
                [program, "--root", self.home + "/root", "--state", self.home + "/state", "--address", self.address],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def ctr(self, *words, check=True, **options):
        return subprocess.run([peer_program("ctr") or "ctr", "--address", self.address, *words], check=check,
                              env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, **options)

    def __enter__(self):
        eventually(lambda: self.ctr("version", check=False).returncode == 0, 30, "containerd answers")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def containerd_idle_mb():
    try:
        with Containerd() as containerd:
            return settled(lambda: pss_kb(containerd.process.pid)) / 1024
    except (Missing, Failure) as reason:
        note(f"idle_memory_mb: no peer: {reason}")
        return None


@row("MB", 10, "containerd alone")
def idle_memory_mb():
    with Running("idle") as device:
        ours = settled(lambda: pss_kb(device.process.pid)) / 1024
    return ours, containerd_idle_mb()


@row("MB", 2, decimals=2)
def idle_memory_growth_mb():
    """What 10,000 requests and 100 pods that came and went leave, against a daemon that was never asked for anything. How
    much of it the first hundred requests and the first pod bring, which is asked for once, is told beside it. Only memory
    of its own counts (Pss_Anon): how much of a library is ours depends on who else has it mapped at the moment."""
    with Running("growth", registry=True) as device:
        idle = settled(lambda: pss_kb(device.process.pid, "Pss_Anon"))
        delete_pods(device, start_pods(device, 1, "warm"))
        load(device, "--get", "/api/v1/namespaces/default", "--clients", 4, "--total", 100)
        warm = settled(lambda: pss_kb(device.process.pid, "Pss_Anon"))
        load(device, "--get", "/api/v1/pods", "--clients", 8, "--total", 5000, "--seconds", 300)
        load(device, "--get", "/api/v1/namespaces/default", "--clients", 8, "--total", 5000, "--seconds", 300)
        for batch in range(10):
            delete_pods(device, start_pods(device, 10, f"b{batch}-"))
        time.sleep(10)
        after = settled(lambda: pss_kb(device.process.pid, "Pss_Anon"))
        note(f"idle_memory_growth_mb: {idle / 1024:.2f} MB idle, {warm / 1024:.2f} after one pod and 100 requests, "
             f"{after / 1024:.2f} at the end: {(after - warm) / 1024:.2f} more than after the first pod")
        return (after - idle) / 1024


@row("kB", 300, decimals=0)
def container_memory_kb():
    with Running("many", registry=True) as device:
        # One pod before, so that what the first needs (the image, the network) is not counted to each.
        delete_pods(device, start_pods(device, 1, "warm"))
        none = settled(lambda: all_of_ours(device))
        start_pods(device, 20, "c")
        return (settled(lambda: all_of_ours(device)) - none) / 20


class Watcher(threading.Thread):
    """One watch over TLS, read as it comes."""

    def __init__(self, device, path):
        super().__init__(daemon=True)
        options = credentials(device)
        given = dict(zip(options[::2], options[1::2]))
        context = ssl.create_default_context(cafile=given["--ca"])
        context.load_cert_chain(given["--cert"], given["--key"])
        host, _, port = given["--connect"].rpartition(":")
        self.connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=600)
        self.connection.request("GET", path)
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()
        self.lines = 0
        self.start()

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)  # its thread reads: a close would wait for it
        self.join()

    def run(self):
        try:
            while self.answer.readline():
                self.lines += 1
        except (OSError, ValueError, http.client.HTTPException):
            pass


@row("MB", 18)
def memory_1k_objects_mb():
    """1,000 ConfigMaps of 1 KB, 10 pods, 5 watchers over TLS that were told of all of them."""
    with Running("objects", registry=True) as device:
        start_pods(device, 10)
        watchers = [Watcher(device, "/api/v1/configmaps?watch=true") for _ in range(5)]
        load(device, "--create", "/api/v1/namespaces/default/configmaps", "--bytes", 1000, "--clients", 4, "--total", 1000)
        eventually(lambda: all(w.lines >= 1000 for w in watchers), 60, "all watchers were told")
        value = settled(lambda: pss_kb(device.process.pid)) / 1024
        for watcher in watchers:
            watcher.end()
        return value


def name_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.path.basename(file.read().split(b"\0")[0].decode())
    except OSError:
        return ""


@row("MB", 32)
def peak_memory_mb():
    """The highest sum that was seen, of the daemon, its shims and every program below them (limpet-unpack, the runtime)
    but the container's own, looking every 5 ms. The runtime must have been among them, or it was not looked at."""
    with Running("peak", registry=True) as device:
        image = ZstdImage(50)
        image.push(f"http://{device.registry.address}", "large", "1")
        peak, with_runtime, over, looks = [0, ""], [], threading.Event(), [0]

        def watch():
            while not over.wait(0.005):
                pids = ours(device)
                names, total = [name_of(pid) for pid in pids], pss_of_all(pids)
                looks[0] += 1
                peak[:] = max(peak, [total, ", ".join(sorted(names))])
                if "runc" in names or "crun" in names:
                    with_runtime.append(total)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            device.create(pod("large", container={"image": f"{device.registry.address}/large:1"}))
            device.wait_ready_pod("large", 300)
        finally:
            over.set()
            watcher.join()
        if not with_runtime:
            raise Failure("the runtime was never seen: the peak says nothing of it")
        note(f"peak_memory_mb: {looks[0]} looks, at the peak there were {peak[1]}; {len(with_runtime)} looks with the runtime, "
             f"{max(with_runtime) / 1024:.1f} MB at most")
        return peak[0] / 1024


@row("%", 0.1, decimals=3)
def idle_cpu_percent():
    """Of one core, the daemon and its shims, 10 pods, in a minute."""
    with Running("still", registry=True) as device:
        start_pods(device, 10)
        time.sleep(20)
        pids = tree_of(device.process.pid) + device.shim_pids()
        start, before = time.monotonic(), cpu_seconds(pids)
        time.sleep(60)
        return (cpu_seconds(pids) - before) / (time.monotonic() - start) * 100


@row("MB", 5, decimals=2)
def installed_mb():
    total = 0
    for program in PROGRAMS:
        source = os.path.join(BUILD, program)
        if not os.path.exists(source):
            raise Failure(f"{program} is not built")
        stripped = os.path.join(SCRATCH, "stripped")
        shutil.copy(source, stripped)
        subprocess.run(["strip", stripped], check=True)
        total += os.path.getsize(stripped)
    return total / (1 << 20)

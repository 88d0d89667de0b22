"""Rows of how much a second."""
import json
import os
import re
import subprocess

from case import eventually
from limpet import BUILD, SCRATCH
from measure import Missing, Ratio, Running, cpu_seconds, load, note, peer_program, pin, row

VALUE_BYTES = 256


def etcd_words(url):
    """The benchmark of etcd with 64 clients and a connection each; a number of puts is to follow."""
    return [peer_program("etcd-benchmark"), "--endpoints", url, "--conns", "64", "--clients", "64", "put", "--key-size", "64",
            "--val-size", str(VALUE_BYTES), "--sequential-keys", "--key-space-size", "1000000", "--total"]


def etcd_answer(words, puts):
    text = subprocess.run(words + [str(puts)], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", text).group(1))


def etcd_puts():
    """Puts a second of etcd with its own benchmark, 64 clients with a connection each, values of 256 bytes; None when
    either program is missing."""
    etcd, benchmark = peer_program("etcd"), peer_program("etcd-benchmark")
    if not etcd or not benchmark:
        note(f"create_ratio: no peer: {'no etcd' if not etcd else 'no etcd benchmark (it is built with go)'}")
        return None
    home = os.path.join(SCRATCH, "etcd")
    url = "http://127.0.0.1:2379"
    with open(home + ".log", "wb") as log:
        process = subprocess.Popen([etcd, "--data-dir", home, "--listen-client-urls", url, "--advertise-client-urls", url,
                                    "--listen-peer-urls", "http://127.0.0.1:2380"], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log)
    try:
        words = etcd_words(url)

        def warm():
            return subprocess.run(words + ["200"], check=False, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, timeout=30).returncode == 0

        eventually(warm, 30, "etcd answers", every=0.3)
        return etcd_answer(words, 20000)
    finally:
        process.terminate()
        process.wait()


@row("x", 1.0, "etcd puts, its own benchmark", 2, at_least=True)
def create_ratio():
    """ConfigMaps created over TLS by 64 clients, each on stable storage when it is answered, against puts of etcd."""
    with Running("creates") as device:
        load(device, "--create", "/api/v1/namespaces/default/configmaps", "--bytes", VALUE_BYTES, "--clients", 64, "--total", 1000)
        done = load(device, "--create", "/api/v1/namespaces/default/configmaps", "--bytes", VALUE_BYTES, "--clients", 64,
                    "--total", 20000, "--seconds", 120)
    ours = done["requests"] / done["seconds"]
    theirs = etcd_puts()
    note(f"create_ratio: {ours:.0f} creates a second (half within {done['p50_ms']} ms, 99 % within {done['p99_ms']} ms)"
         + (f", etcd {theirs:.0f} puts a second" if theirs else ""))
    if not theirs:
        raise Missing(f"{ours:.0f} creates a second, and nothing to compare with")
    return Ratio(ours, theirs, "1/s")


@row("1/s", 15000, decimals=0, at_least=True)
def get_per_second():
    """One Namespace, 16 connections that are kept, the daemon pinned to core 0 and the clients elsewhere."""
    cores = os.cpu_count()
    with Running("gets") as device:
        load(device, "--get", "/api/v1/namespaces/default", "--clients", 16, "--seconds", 1)
        pin(device.process.pid, 0)
        before = cpu_seconds([device.process.pid])
        done = load(device, "--get", "/api/v1/namespaces/default", "--clients", 16, "--seconds", 10,
                    cpu=f"1-{cores - 1}" if cores > 1 else 0)
        busy = (cpu_seconds([device.process.pid]) - before) / done["seconds"]
    note(f"get_per_second: {done['requests'] / done['seconds'] / busy:.0f} for each second of the daemon's CPU, of which it had {busy:.2f} a second"
         + (": so the figure is bounded by the clients, or by what else ran, and not by the daemon" if busy < 0.95 else ""))
    if cores == 1:
        note("get_per_second: one core only, which the clients share")
    return done["requests"] / done["seconds"]


@row("1/s", 5000, decimals=0, at_least=True)
def schedule_per_second():
    """Decisions of the scheduler's function over 1,000 devices, each entered before the next."""
    program = os.path.join(BUILD, "tests", "bench", "limpet-bench-schedule")
    if not os.path.exists(program):
        raise Missing("limpet-bench-schedule is not built; build with -Dbench=true")
    done = json.loads(subprocess.run([program, "1000", "5"], check=True, stdout=subprocess.PIPE).stdout)
    return done["pods"] / done["seconds"]

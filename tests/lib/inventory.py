"""All that pods use of a device, as sets of lines: taken twice, what is new in the second was left behind."""
import glob
import os
import shutil
import sqlite3
import subprocess
import tempfile

from limpet import command_lines


def _lines(*words):
    text = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return {line.strip() for line in text.splitlines()}


def _mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return {line.split()[4] for line in file}


def _links():
    return {line.split(":")[1].strip() for line in _lines("ip", "-o", "link")}


def _namespaces():
    """Of processes; those that nothing but a mount holds are among the mounts."""
    return {f"{words[1]} {words[0]}" for words in (line.split() for line in _lines("lsns", "-n", "-o", "NS,TYPE")) if words}


def _processes(device):
    found = set()
    for pid, words in command_lines():
        if device.home.encode() in b" ".join(words) or os.path.basename(words[0]).startswith((b"limpet", b"runc", b"crun")):
            found.add(f"{pid} {os.path.basename(words[0]).decode()}")
    return found


def _descriptors(pid):
    """Each with its number of the same kind, so that one more of a kind is one more line."""
    seen, out = {}, set()
    for fd in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            kind = os.readlink(fd).split(":[")[0]
        except OSError:
            continue
        seen[kind] = seen.get(kind, 0) + 1
        out.add(f"{kind} {seen[kind]}")
    return out


def _records(path):
    """What node.db holds, of a copy: the daemon keeps it locked."""
    with tempfile.TemporaryDirectory() as place:
        for suffix in ("", "-wal"):
            if os.path.exists(path + suffix):
                shutil.copy(path + suffix, os.path.join(place, "db" + suffix))
        connection = sqlite3.connect(os.path.join(place, "db"))
        try:
            return {f"{kind} {key}" for kind, key in connection.execute("SELECT kind, key FROM record")}
        finally:
            connection.close()


def _files(*places):
    return {os.path.join(path, name) for place in places for path, below, names in os.walk(place) for name in below + names}


def inventory(device):
    """By what it is. The state in which the kernel has an address or a route just now ("tentative" while it looks for a
    duplicate, "linkdown") is no part of it."""
    return {
        "mount": _mounts(), "namespace": _namespaces(), "link": _links(), "rule": _lines("nft", "list", "ruleset"),
        "address": {line.replace(" tentative", "") for line in _lines("ip", "-o", "address")},
        "route": {line.replace(" linkdown", "") for line in _lines("ip", "route")},
        "cgroup": set(device.cgroup_directories(below=True)), "process": _processes(device),
        "descriptor": _descriptors(device.process.pid), "record": _records(os.path.join(device.data_dir, "node.db")),
        "file": _files(device.data_dir, device.run_dir, device.logs_dir),
    }


def added(before, after):
    """What the second has more, as text."""
    return [f"{kind} {line}" for kind in after for line in sorted(after[kind] - before[kind])]

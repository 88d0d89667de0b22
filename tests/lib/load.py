"""A steady load of writes on every device of a cluster, with watches beside it, and what must be true of both.

    load = Load(cluster.devices).start()
    ... trouble ...
    load.stop()
    load.check(cluster.devices)     # nothing acknowledged is lost, 503 was never a write, watches have no gap

With `kubectl` a `kubectl get -w` is kept open on each device beside the watches, and has to show every object once. A write that is answered 201 is acknowledged. 503 (and 507, of a full disk) says that it was certainly not done: the same name is tried again
and must be free. 504 and a broken connection say nothing.
"""
import http.client
import json
import os
import socket
import threading
import time

from case import Failure, eventually, expect
from kubectl_watch import KubectlWatch

PATH = "/api/v1/namespaces/default/configmaps"
PAUSE = 0.02


class _Socket(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(self.timeout)
        made.connect(self.path)
        self.sock = made


def _socket(device, timeout):
    return _Socket(os.path.join(device.run_dir, "limpet.sock"), timeout)


class Writer(threading.Thread):
    def __init__(self, device, owner):
        super().__init__(daemon=True)
        self.device, self.owner = device, owner
        self.acknowledged = {}  # name -> resourceVersion
        self.unknown = set()
        self.refused = 0
        self.problems = []
        self.why = "never"
        self.last_ok = time.monotonic()
        self.longest_gap = 0.0

    def run(self):
        number, name, connection = 0, None, None
        while not self.owner.over.is_set():
            if name is None:
                number += 1
                name = f"{self.owner.label}-{self.device.name}-{number}"
            try:
                sent = False
                connection = connection or _socket(self.device, 20)
                if not connection.sock:
                    connection.connect()
                sent = True
                body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap",
                                   "metadata": {"name": name, "labels": {"load": self.owner.label}}})
                connection.request("POST", PATH, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                if sent:
                    self.unknown.add(name)
                    name = None
                connection = None
                time.sleep(0.1)
                continue
            name = self._answered(name, answer, text)
            time.sleep(PAUSE)

    def _answered(self, name, answer, text):
        if answer.status == 201:
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - self.last_ok)
            self.last_ok = now
            self.owner.accepted(now)
            self.acknowledged[name] = int(json.loads(text)["metadata"]["resourceVersion"])
            return None
        if answer.status == 503:
            self.refused += 1
            self.why = f"{time.monotonic():.3f} {text[:300]}"
            if answer.getheader("Retry-After") is None:
                self.problems.append(f"{name}: 503 without Retry-After: {text[:200]}")
            return name
        if answer.status == 507:  # the leader's disk is full: certainly not done either, and nothing to repeat at once
            self.refused += 1
            return name
        if answer.status == 504:
            if answer.getheader("Retry-After") is not None:
                self.problems.append(f"{name}: 504 with Retry-After")
            self.unknown.add(name)
            return None
        self.problems.append(f"{name}: {answer.status} {text[:300]}, last refused at {self.why}, now {time.monotonic():.3f}")
        return None


class Watcher(threading.Thread):
    """All changes from one version on, over as many connections as it takes."""

    def __init__(self, device, owner, version):
        super().__init__(daemon=True)
        self.device, self.owner, self.version = device, owner, version
        self.seen = []  # (resourceVersion, type, name)
        self.problems = []

    def run(self):
        while not self.owner.done_watching.is_set():
            try:
                self._watch()
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.1)

    def _watch(self):
        connection = _socket(self.device, 2)
        connection.request("GET", f"{PATH}?watch=true&labelSelector=load%3D{self.owner.label}&resourceVersion={self.version}")
        answer = connection.getresponse()
        if answer.status != 200:
            text = answer.read()
            if answer.status == 410:
                self.problems.append(f"{self.device.name}: the watch from {self.version} is gone: {text[:200]}")
                self.owner.done_watching.wait(1)
            time.sleep(0.1)
            return
        while not self.owner.done_watching.is_set():
            try:
                line = answer.readline()
            except socket.timeout:
                return  # quiet; a new connection goes on from the same place
            if not line:
                return
            event = json.loads(line)
            meta = event["object"].get("metadata", {})
            if event["type"] == "ERROR":
                self.problems.append(f"{self.device.name}: {event['object'].get('message')}")
                return
            self.version = int(meta["resourceVersion"])
            self.seen.append((self.version, event["type"], meta["name"]))


class Load:
    """`watched`: the devices with watches, where not all have some."""

    def __init__(self, devices, label="w", kubectl=False, watched=None):
        self.label = label
        self.over, self.done_watching = threading.Event(), threading.Event()
        self.writers = [Writer(d, self) for d in devices]
        self.watched = devices if watched is None else watched
        version = devices[0].api("GET", PATH)["metadata"]["resourceVersion"]
        self.watchers = [Watcher(d, self, version) for d in self.watched]
        self.kubectl = [KubectlWatch(d, f"load={label}") for d in self.watched] if kubectl else []
        self.last_accepted = time.monotonic()
        self.longest_pause = 0.0  # between writes through any device

    def start(self):
        for thread in self.watchers + self.writers:
            thread.start()
        return self

    def accepted(self, now):
        self.longest_pause = max(self.longest_pause, now - self.last_accepted)
        self.last_accepted = now

    def acknowledged(self):
        return {name: rv for w in self.writers for name, rv in w.acknowledged.items()}

    def progress(self, seconds=30, through=None):
        """Until a write is acknowledged that was not before, by any device or by each of some."""
        count = lambda: [len(w.acknowledged) for w in self.writers if through is None or w.device in through]
        before = count()
        further = any if through is None else all
        eventually(lambda: further(now > then for now, then in zip(count(), before)), seconds, "a further write is acknowledged")

    def watch_again(self):
        """`kubectl get -w` where the one before ended with its daemon."""
        alive = {k.device for k in self.kubectl if k.survives()}
        self.kubectl += [KubectlWatch(d, f"load={self.label}") for d in self.watched if d not in alive]

    def stop(self):
        self.over.set()
        for w in self.writers:
            w.join(40)
        return self

    def summary(self):
        return (f"{len(self.acknowledged())} acknowledged, {sum(w.refused for w in self.writers)} refused, "
                f"{sum(len(w.unknown) for w in self.writers)} unknown, longest gap {self.longest_pause:.1f} s, through one "
                f"device {max(w.longest_gap for w in self.writers):.1f} s")

    def check(self, devices, seconds=60):
        print(self.summary(), flush=True)
        acknowledged = self.acknowledged()
        expect(acknowledged, "nothing was acknowledged")
        for device in devices:
            there = {i["metadata"]["name"]: int(i["metadata"]["resourceVersion"]) for i in device.api("GET", PATH)["items"]}
            lost = [n for n in acknowledged if n not in there]
            expect(not lost, f"{device.name} lost {len(lost)} of {len(acknowledged)}: {lost[:5]}")
            other = [n for n in acknowledged if there[n] != acknowledged[n]]
            expect(not other, f"{device.name} has other versions of {other[:5]}")
        self._check_watches(acknowledged, seconds)
        self._check_kubectl(acknowledged, seconds)
        problems = [p for t in self.writers + self.watchers for p in t.problems]
        expect(not problems, "; ".join(problems[:5]))

    def _check_watches(self, acknowledged, seconds):
        last = max(acknowledged.values())
        alive = [w for w in self.watchers if w.device.process]
        try:
            eventually(lambda: all(w.version >= last for w in alive), seconds, "every watch comes to the last write")
        except Failure as failure:
            raise Failure(f"{failure}; {last} is the last, " + "; ".join(
                f"{w.device.name} is at {w.version} {w.problems[:1]}" for w in alive)) from None
        finally:
            self.done_watching.set()
        for w in self.watchers:
            w.join(10)
        for w in alive:
            versions = [v for v, _, _ in w.seen]
            expect(all(a <= b for a, b in zip(versions, versions[1:])), f"{w.device.name}: watch out of order")
            added = [n for _, kind, n in w.seen if kind == "ADDED"]
            if len(added) != len(set(added)):
                raise Failure(f"{w.device.name}: the watch doubles {len(added) - len(set(added))} events")
            missing = [n for n in acknowledged if n not in set(added)]
            expect(not missing, f"{w.device.name}: the watch misses {len(missing)}: {missing[:5]}")

    def _check_kubectl(self, acknowledged, seconds):
        last = max(acknowledged, key=acknowledged.get)
        open_ones = [k for k in self.kubectl if k.survives()]
        try:
            eventually(lambda: all(last in k.shown or k.process.poll() is not None for k in open_ones), seconds,
                       "every kubectl shows the last write")
        finally:
            for k in self.kubectl:
                k.close()
        for k in self.kubectl:
            k.check(acknowledged)

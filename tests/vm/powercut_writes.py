#!/usr/bin/env python3
# timeout: 86400
# parallel: yes
"""The plug is pulled at random moments of a write load: every acknowledged write is there afterwards, the device comes
back by itself, and the very same rig loses writes when the store is told not to wait for the disk.

VM_CYCLES power cuts (default 3), SEED for the moments. The guest is limpetd alone on Debian's kernel, without systemd
(tests/vm/root/usr/local/lib/limpet-guest/bare-init); the load comes over its API from outside, whose machine stays up.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from api_client import Client
from guest import API_PORT, Guest, NoDevice
from case import Failure, case, eventually, expect, run

CYCLES = int(os.environ.get("VM_CYCLES", "3"))
SEED = int(os.environ.get("SEED", time.time()))
WRITERS = 4
KEPT = 40  # config maps of one writer; beyond them the oldest is deleted, so that the database does not only grow
MAPS = "/api/v1/namespaces/default/configmaps"
print("SEED", SEED)
random.seed(SEED)


class Writer(threading.Thread):
    """Creates, changes and deletes its own objects and keeps what was acknowledged of each: the lowest state that must
    be found after a power cut, and the highest that may (the one request under way)."""

    def __init__(self, guest, number, state):
        super().__init__(daemon=True)
        self.guest, self.number, self.state = guest, number, state
        self.acknowledged, self.problem, self.revision = 0, "", 0
        self.cut = threading.Event()

    def run(self):
        while not self.cut.is_set():
            try:
                client = Client(self.guest.kubeconfig, API_PORT)
                while True:
                    self.step(client)
            except OSError:
                self.cut.wait(0.2)  # the plug; or a guest so slow that a connection was given up, then on a new one
            except Failure as failure:
                self.problem = str(failure)
                return

    def step(self, client):
        state = self.state
        state["next"] += 1
        name = f"w{self.number}-{state['next']}"
        self.write(client, "POST", MAPS, name, 1, 201,
                   {"metadata": {"name": name}, "data": {"step": "1", "ballast": "x" * random.randrange(2000)}})
        for step in (2, 3):
            self.write(client, "PATCH", f"{MAPS}/{name}", name, step, 200, {"data": {"step": str(step)}})
        old = f"w{self.number}-{state['next'] - KEPT}"
        if old in state["objects"]:  # the cut may have come before it was made
            self.write(client, "DELETE", f"{MAPS}/{old}", old, None, 200)

    def write(self, client, method, path, name, step, wanted, body=None):
        objects = self.state["objects"]
        before = objects.get(name, (None, None))[0]
        objects[name] = (before, step)  # under way: either
        status, answer = client.ask(method, path, body,
                                    "application/merge-patch+json" if method == "PATCH" else "application/json")
        if status == 404 and method == "DELETE" and before is None:
            return  # its making was given up
        if status != wanted:
            raise Failure(f"{method} {path}: {status} {answer}")
        objects[name] = (step, step)
        self.acknowledged += 1
        self.revision = int(answer["metadata"].get("resourceVersion", self.revision))


class Rig:
    def __init__(self, name, environment=""):
        self.guest = Guest(name, memory_mb=128, init="/usr/local/lib/limpet-guest/bare-init", environment=environment)
        self.states = [{"next": 0, "objects": {}} for _ in range(WRITERS)]
        self.acknowledged, self.revision = 0, 0

    def wait_ready(self):
        self.guest.eventually("[ -S /run/limpet/limpet.sock ] && limpet status && cat /etc/limpet/admin.kubeconfig", 200)
        self.guest.fetch_kubeconfig()
        eventually(lambda: Client(self.guest.kubeconfig, API_PORT).ask("GET", "/api/v1/namespaces/default")[0] == 200, 200,
                   "the API answers", every=0.5)

    def cut(self):
        """One cycle: load, plug, power, look. What of the acknowledged is lost or wrong, as lines."""
        writers = [Writer(self.guest, n, state) for n, state in enumerate(self.states)]
        for writer in writers:
            writer.start()
        # Some load first, since a cut without a write says nothing; then any moment.
        eventually(lambda: sum(w.acknowledged for w in writers) > 10 or any(w.problem for w in writers), 300, "the load runs")
        time.sleep(random.uniform(0, 3))
        for writer in writers:
            writer.cut.set()  # ends with the connection
        self.guest.pull_the_plug()
        for writer in writers:
            writer.join(90)
            expect(not writer.is_alive() and not writer.problem, f"a writer: {writer.problem or 'does not end'}")
        self.acknowledged += sum(w.acknowledged for w in writers)
        self.revision = max([self.revision] + [w.revision for w in writers])
        self.guest.start()
        self.wait_ready()
        return self.look()

    def look(self):
        status, answer = Client(self.guest.kubeconfig, API_PORT).ask("GET", MAPS)
        expect(status == 200, f"list: {status} {answer}")
        found = {item["metadata"]["name"]: int(item["data"]["step"]) for item in answer["items"] if "step" in item["data"]}
        wrong = []
        if int(answer["metadata"]["resourceVersion"]) < self.revision:
            wrong.append(f"revision {answer['metadata']['resourceVersion']} after {self.revision} was handed out")
        for state in self.states:
            for name, allowed in list(state["objects"].items()):
                there = found.pop(name, None)
                if there not in allowed:
                    wrong.append(f"{name} is {there}, acknowledged {allowed[0]}, under way {allowed[1]}")
                if there is None:
                    del state["objects"][name]
                else:
                    state["objects"][name] = (there, there)
        return wrong + [f"{name} is there, deleted long ago" for name in found]


@case
def no_acknowledged_write_is_lost():
    rig = Rig("full")
    try:
        rig.guest.start()
        rig.wait_ready()
        for cycle in range(CYCLES):
            wrong = rig.cut()
            expect(not wrong, f"after power cut {cycle + 1} of {CYCLES}: " + "; ".join(wrong[:20]))
            print(f"power cut {cycle + 1}: {rig.acknowledged} acknowledged, none lost", flush=True)
    except Failure as failure:
        raise Failure(f"{failure}\n{rig.guest.console_tail()}") from None
    finally:
        rig.guest.close()


@case
def the_rig_finds_lost_writes():
    """With synchronous=NORMAL the store answers before the disk has it."""
    rig = Rig("normal", environment="LIMPET_FAILPOINTS=store.synchronous=error")
    try:
        rig.guest.start()
        rig.wait_ready()
        for _ in range(max(CYCLES, 3)):
            wrong = rig.cut()
            if wrong:
                print(f"{len(wrong)} of {rig.acknowledged} acknowledged writes lost, as it must be: {wrong[0]}")
                return
        raise Failure(f"{rig.acknowledged} writes without waiting for the disk, and none lost in {max(CYCLES, 3)} power cuts")
    finally:
        rig.guest.close()


run(NoDevice, at_once=1)

#!/usr/bin/env python3
# timeout: 86400
# parallel: yes
"""Three servers of one cluster lose their power at random moments of a write load through all three: every acknowledged
write is there afterwards on each of them, and the very same rig loses writes when the store does not wait for the disk.

VM_CYCLES power cuts (default 3: one of each kind), SEED for the moments, the victims and what their disks keep. Kinds:

  one     a member alone: the other two go on and take writes, it comes back and catches up
  two     two members at one moment: nothing is acknowledged until one of them is back
  whole   all three at one moment, at times when one of them was down already

The servers run in one guest (tests/vm/root/usr/local/lib/limpet-guest/cluster-init), each in a network namespace and on
a disk of its own. These disks have a volatile write cache (cached_disk.py): a cut keeps what was flushed and, by dice,
some of the rest. A member alone loses its power so: its disk falls silent, limpetd is killed, the disk answers with
errors, its file system is unmounted and with it goes what the kernel had not written. The load comes over the API from
outside the guest: what was acknowledged is known to a machine that stays up.
"""
import collections
import json
import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from api_client import Client
from cached_disk import CachedDisks
from guest import API_PORT, Guest
from case import Failure, case, eventually, expect, run

CYCLES = int(os.environ.get("VM_CYCLES", "3"))
SEED = int(os.environ.get("SEED", time.time()))
MEMBERS = (1, 2, 3)
WRITERS = 2     # for each member
PAUSE_SECONDS = 0.1  # a steady load, not all that an emulated processor can do: it has elections to hold, too
KEPT = 10       # config maps of one writer; beyond them the oldest is deleted
DISK_MB = 192
# One device has 128 MB. Here three share a kernel of 60 MB or so, and three daemons of 30 have a page cache each.
MEMORY_MB = 256
MAPS = "/api/v1/namespaces/default/configmaps"
TOOL = "/usr/local/lib/limpet-guest/member"
SECONDS = 600   # a bound for what takes ten of them, on a machine that has much else to do
QUIET_SECONDS = 3   # how long two cuts are watched: a leader is replaced within two
print("SEED", SEED)

# Of an object: what was acknowledged last, as step (None: it is not there) and revision, and what may be there instead
# since it was asked for and no answer came.
State = collections.namedtuple("State", "step version maybe")
ABSENT = State(None, 0, None)


def sure(state):
    return state.maybe == state.step


class Writer(threading.Thread):
    """Creates, changes and deletes its own objects through one member, and keeps what it knows of each."""

    def __init__(self, rig, member, number):
        super().__init__(daemon=True)
        self.rig, self.member, self.number = rig, member, number
        self.objects, self.made = {}, 0
        self.acknowledged, self.last_begun, self.problem = 0, 0.0, ""
        self.client = None
        self.idle = threading.Event()

    def run(self):
        plan = self.operations()
        operation = next(plan)
        try:
            while True:
                if not self.rig.going.is_set():
                    self.idle.set()
                    self.rig.going.wait()
                    self.idle.clear()
                if self.rig.over:
                    return
                done = self.attempt(*operation)
                time.sleep(PAUSE_SECONDS if done is not None else 10 * PAUSE_SECONDS)
                if done is not None:
                    operation = plan.send(done)
        except Failure as failure:
            self.problem = str(failure)
        finally:
            self.idle.set()

    def operations(self):
        """Yields method, name and step; is told whether it was done, or nobody knows: then the object is left alone."""
        while True:
            self.made += 1
            name = f"w{self.number}-{self.made}"
            done = yield "POST", name, 1
            for step in (2, 3):
                done = done and (yield "PATCH", name, step)
            known = [n for n, state in self.objects.items() if sure(state) and state.step]
            if len(known) > KEPT:
                yield "DELETE", known[0], None

    def attempt(self, method, name, step):
        """True: acknowledged; False: nobody knows; None: certainly not done."""
        try:
            self.client = self.client or Client(self.rig.guest.kubeconfig, self.rig.port(self.member), timeout=30)
        except OSError:
            return None
        before, floor, begun = self.objects.get(name, ABSENT), self.rig.revision, time.monotonic()
        self.objects[name] = before._replace(maybe=step)
        body = {"metadata": {"name": name}, "data": {"step": str(step), "ballast": "x" * random.randrange(2000)}}
        try:
            if method == "POST":
                status, answer = self.client.ask(method, MAPS, body)
            elif method == "PATCH":
                status, answer = self.client.ask(method, f"{MAPS}/{name}", body, "application/merge-patch+json")
            else:
                status, answer = self.client.ask(method, f"{MAPS}/{name}")
        except OSError:
            self.client.close()
            self.client = None
            return False
        if status == 503:
            self.objects[name] = before
            return None
        if status == 504:
            return False
        if status != (201 if method == "POST" else 200):
            raise Failure(f"{method} {name}, {before}: {status} {answer}")
        version = int(answer["metadata"].get("resourceVersion", 0)) if step else 0
        if step and version <= floor:
            raise Failure(f"{method} {name} has revision {version}, and {floor} was handed out before")
        self.objects[name] = State(step, version, step)
        self.acknowledged += 1
        self.last_begun = begun
        self.rig.handed_out(version)
        return True


class Rig:
    def __init__(self, name, environment=""):
        self.name, self.rng = name, random.Random(f"{SEED} {name}")
        self.home = os.path.join(os.environ["TEST_TMP"], name)
        images = {number: self.make_disk(number) for number in MEMBERS}
        self.disks = CachedDisks(images, self.rng.randrange(1 << 32))
        devices = ["-device", "virtio-serial-pci,id=logs"]
        for number in MEMBERS:
            drive = f"file={self.disks.uri(number)},format=raw,if=virtio,cache=writeback,werror=report,rerror=report"
            devices += ["-drive", drive,
                        "-chardev", f"file,id=log{number},path={self.home}/log-{number},append=on",
                        "-device", f"virtserialport,bus=logs.0,chardev=log{number},name=member-{number}"]
        self.guest = Guest(name + "/guest", memory_mb=MEMORY_MB, init="/usr/local/lib/limpet-guest/cluster-init",
                           environment=environment, devices=devices,
                           forwards={self.port(n): f"10.0.2.1{n}:6443" for n in MEMBERS})
        self.revision, self.lock = 0, threading.Lock()
        self.down = []
        self.cuts, self.leaders, self.dropped, self.kept = collections.Counter(), 0, 0, 0
        self.clients = {}
        self.going, self.over = threading.Event(), False
        self.writers = [Writer(self, member, member * 10 + n) for member in MEMBERS for n in range(WRITERS)]

    def make_disk(self, number):
        tree = os.path.join(self.home, f"tree-{number}")
        os.makedirs(tree)
        home, run_dir = f"/members/{number}", f"/run/member-{number}"
        config = {"nodeName": f"member-{number}", "dataDir": f"{home}/data", "runDir": run_dir,
                  "adminKubeconfig": f"{home}/admin.kubeconfig", "manifestsDir": f"{home}/manifests",
                  "cgroupRoot": f"member-{number}", "node": {"address": f"10.0.2.1{number}"}, "network": {"mode": "none"},
                  "logs": {"dir": f"{run_dir}/logs"}}
        with open(os.path.join(tree, "limpetd.yaml"), "w", encoding="utf-8") as file:
            json.dump(config, file)  # JSON is YAML
        image = os.path.join(self.home, f"disk-{number}")
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d", tree,
                        image, f"{DISK_MB}M"], check=True, stdout=subprocess.DEVNULL)
        return image

    @staticmethod
    def port(number):
        return API_PORT + 1000 * (number - 1)

    # ---- life ----

    def start(self):
        """The first member begins a cluster, the others join it."""
        self.guest.start()
        kubeconfig = self.guest.eventually(f"{TOOL} limpet 1 status >/dev/null && cat /members/1/admin.kubeconfig", SECONDS)
        with open(self.guest.kubeconfig, "w", encoding="utf-8") as file:
            file.write(kubeconfig)
        for number in MEMBERS[1:]:
            self.guest.eventually(f"{TOOL} limpet {number} status", SECONDS)
            token = self.guest.run(f"{TOOL} limpet 1 token create --role server --uses 1 2>/dev/null").split()[-1]
            self.guest.run(f"{TOOL} limpet {number} join https://10.0.2.11:6443 {token} --role server --discard", SECONDS)
        eventually(lambda: sum(m["role"] == "voter" for m in self.status(1)["members"]) == len(MEMBERS), SECONDS,
                   "three voters", every=0.5)
        self.wait_ready(MEMBERS)
        self.going.set()
        for writer in self.writers:
            writer.start()

    def status(self, member):
        _, text = self.guest.try_run(f"{TOOL} limpet {member} cluster status -o json 2>/dev/null")
        return json.loads(text)

    def ask(self, member, path):
        """On one connection for each member: a handshake is dear on an emulated processor."""
        try:
            self.clients[member] = self.clients.get(member) or Client(self.guest.kubeconfig, self.port(member))
            status, answer = self.clients[member].ask("GET", path)
        except OSError:
            self.forget(member)
            raise
        expect(status == 200, f"member {member}: GET {path}: {status} {answer}")
        return answer

    def forget(self, member):
        client = self.clients.pop(member, None)
        if client:
            client.close()

    def wait_ready(self, members):
        """A read that a majority has to stand for."""
        for number in members:
            eventually(lambda n=number: self.ask(n, "/api/v1/namespaces/default"), SECONDS, f"member {number} answers",
                       every=0.5)

    def up(self):
        return [n for n in MEMBERS if n not in self.down]

    def handed_out(self, version):
        with self.lock:
            self.revision = max(self.revision, version)

    def close(self):
        self.over = True
        self.going.set()
        leaks = self.guest.close()
        self.disks.close()
        return leaks

    def log_tail(self, lines):
        words = self.guest.console_tail(lines)
        for number in MEMBERS:
            with open(os.path.join(self.home, f"log-{number}"), encoding="utf-8", errors="replace") as file:
                words += f"--- member {number}'s last lines:\n" + "".join(file.readlines()[-lines:])
        return words

    # ---- the load ----

    def check_writers(self):
        problems = [w.problem for w in self.writers if w.problem]
        expect(not problems, "; ".join(problems))

    def progress(self, since=0.0):
        """Until every member that is up has acknowledged a write that was begun after that."""
        since = since or time.monotonic()

        def seen():
            return all(any(w.last_begun > since for w in self.writers if w.member == n) for n in self.up()) or \
                any(w.problem for w in self.writers)

        eventually(seen, SECONDS, "the members that are up take writes")
        self.check_writers()

    def pause(self):
        self.going.clear()
        for writer in self.writers:
            expect(writer.idle.wait(SECONDS), "a writer does not end")
        self.check_writers()

    def acknowledged(self):
        return sum(w.acknowledged for w in self.writers)

    # ---- cuts ----

    def random_moment(self):
        self.progress()  # a cut without a write says nothing
        time.sleep(self.rng.uniform(0, 2))

    def after(self):
        """Every other cut comes when a disk is about to write or flush."""
        return self.rng.choice((0, self.rng.randrange(1, 10)))

    def count(self, kind, losses):
        self.cuts[kind] += 1
        self.dropped += sum(loss.dropped for loss in losses)
        self.kept += sum(loss.kept for loss in losses)

    def cut_members(self, victims):
        """Returns the moment from which on they do nothing."""
        leader = eventually(lambda: self.status(self.up()[0])["leader"], SECONDS, "there is a leader")
        losses = self.disks.cut(victims, self.after())
        moment = time.monotonic()
        self.down += victims
        self.count("one" if len(victims) == 1 else "two", losses)
        self.leaders += leader in [f"member-{n}" for n in victims]
        self.guest.run("; ".join(f"{TOOL} kill {n}" for n in victims), SECONDS)
        self.disks.fail(victims)
        return moment

    def bring_back(self):
        """In any order. Leaving before the power is back: nothing that the kernel remembers may reach the disk."""
        members, self.down = self.rng.sample(self.down, len(self.down)), []
        self.guest.run("set -e; " + "; ".join(f"{TOOL} leave {n}" for n in members), SECONDS)
        self.disks.restore(members)
        self.guest.run("set -e; " + "; ".join(f"{TOOL} start {n}" for n in members), SECONDS)
        self.wait_ready(members)

    def one(self):
        self.random_moment()
        self.progress(self.cut_members([self.rng.choice(MEMBERS)]))
        time.sleep(self.rng.uniform(0, 2))

    def two(self):
        self.random_moment()
        moment = self.cut_members(self.rng.sample(MEMBERS, 2))
        time.sleep(QUIET_SECONDS)
        late = [w for w in self.writers if w.last_begun > moment]
        expect(not late, f"member {self.up()[0]} acknowledged a write begun when it was alone")

    def whole(self):
        if self.rng.random() < 0.3:
            self.one()
        self.cut_all()

    def cut_all(self):
        self.random_moment()
        losses = self.disks.cut(self.up(), self.after())
        self.guest.pull_the_plug()
        self.pause()  # nothing is under way: whoever could have gone on with it is off
        self.count("whole", losses)
        self.down = []
        self.disks.restore(MEMBERS)
        self.guest.start()
        self.wait_ready(MEMBERS)

    def cut(self, kind):
        """One cycle: load, plug, power, look. What of the acknowledged is lost or wrong, as lines."""
        getattr(self, kind)()
        if kind != "whole":
            self.bring_back()
            self.pause()
        wrong = self.look(settled=kind == "whole")
        self.going.set()
        return wrong

    # ---- what is there ----

    def look(self, settled):
        """`settled`: what is not there now will not come any more."""
        wrong = []
        for number in MEMBERS:
            answer = eventually(lambda n=number: self.ask(n, MAPS), SECONDS, f"member {number} answers", every=0.5)
            wrong += self.compare(f"member {number}", answer, settled)
        if wrong:
            return wrong  # nobody comes to a revision that is lost
        newest = self.revision
        for number in MEMBERS:
            local = eventually(lambda n=number: self.caught_up(n, newest), SECONDS, f"member {number} has all by itself",
                               every=0.2)
            wrong += self.compare(f"member {number} by itself", local, settled)
        for writer in self.writers:
            for name in [n for n, state in writer.objects.items() if sure(state) and state.step is None]:
                del writer.objects[name]
        return wrong

    def caught_up(self, number, newest):
        answer = self.ask(number, MAPS + "?resourceVersion=0")
        return answer if int(answer["metadata"]["resourceVersion"]) >= newest else None

    def compare(self, who, answer, settled):
        found = {item["metadata"]["name"]: (int(item["data"]["step"]), int(item["metadata"]["resourceVersion"]))
                 for item in answer["items"] if "step" in item["data"]}
        revision, wrong = int(answer["metadata"]["resourceVersion"]), []
        if revision < self.revision:
            wrong.append(f"{who}: revision {revision} after {self.revision} was handed out")
        self.handed_out(revision)
        for writer in self.writers:
            for name, state in writer.objects.items():
                step, version = found.pop(name, (None, 0))
                if (step, version) == (state.step, state.version if state.step else 0):
                    writer.objects[name] = state._replace(maybe=step) if settled else state
                elif step == state.maybe and not sure(state) and (step is None or version > state.version):
                    writer.objects[name] = State(step, version, step)  # it was done
                else:
                    wrong.append(f"{who}: {name} is {step} of {version}, known was {state}")
        return wrong + [f"{who}: {name} is there, deleted long ago or never made" for name in found]


def kinds(rng):
    while True:
        yield from rng.sample(("one", "two", "whole"), 3)


rig = Rig("full")
rig.start()


@case
def a_member_loses_what_was_not_synced():
    """The power cut of one member is one: what the kernel had in memory goes, what was synced stays."""
    rig.guest.run("cd /members/2; echo synced >synced; sync synced; echo not >not-synced")
    rig.cut_members([2])
    rig.bring_back()
    code, _ = rig.guest.try_run("grep -qx not /members/2/not-synced")
    expect(code != 0, "a file that was not synced is there after the cut")
    rig.guest.run("grep -qx synced /members/2/synced")


@case
def no_acknowledged_write_is_lost():
    begin, total = time.monotonic(), 0
    rig.cuts.clear()
    for kind in kinds(rig.rng):
        before = rig.acknowledged()
        wrong = rig.cut(kind)
        total = sum(rig.cuts.values())
        expect(not wrong, f"after power cut {total} ({kind}): " + "; ".join(wrong[:20]))
        print(f"{time.monotonic() - begin:6.0f} s, power cut {total} ({kind}): {rig.acknowledged() - before} acknowledged, "
              "none lost", flush=True)
        if total >= CYCLES:
            break
    rig.pause()  # for the next case, which has a guest of its own
    expect(rig.dropped or total < 30, "no disk dropped anything: these were no power cuts")
    print(f"{total} power cuts ({', '.join(f'{kind}: {n}' for kind, n in sorted(rig.cuts.items()))}; {rig.leaders} of a leader "
          f"with one or two), {rig.acknowledged()} acknowledged, none lost; the disks dropped {rig.dropped} writes and "
          f"kept {rig.kept} that were not flushed; {time.monotonic() - begin:.0f} s, seed {SEED}", flush=True)


@case
def the_rig_finds_lost_writes():
    """With synchronous=NORMAL the stores answer before their disks have it. What they had when the load began is on the
    disks: without that a member could be none any more, and nobody would answer for what was lost."""
    rig.guest.close()  # its ports are the next one's
    careless = Rig("normal", environment="LIMPET_FAILPOINTS=store.synchronous=error")
    try:
        careless.start()
        for _ in range(3):
            careless.pause()
            careless.guest.run("sync")
            careless.going.set()
            careless.cut_all()
            wrong = careless.look(settled=True)
            if wrong:
                print(f"{careless.acknowledged()} acknowledged writes, not all of them there, as it must be: {wrong[0]}")
                return
            careless.going.set()
        raise Failure(f"{careless.acknowledged()} writes without waiting for the disks, and none lost in three power cuts")
    finally:
        careless.close()


run(rig, at_once=1)

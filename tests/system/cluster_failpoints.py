#!/usr/bin/env python3
# timeout: 3600
"""Three servers under a load of writes and watches; one of them dies, or takes the error path, at a named place of the code
(docs/failpoints.md, whose last column says what leads there). It must come past that place; the others go on; once it is
started again all three are one cluster, what was acknowledged is there, watches have no gap.

One place of each kind, drawn by SEED; CLUSTER_FAILPOINTS=all: each with both; CLUSTER_FAILPOINTS=NAME,NAME: those,
with both."""
import base64
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, run
from cluster import Cluster
from failpoints import start_armed, table, was_hit
from limpet import config_map
from load import PATH, Load

SEED = int(os.environ.get("SEED", str(int(time.time()))))
WANTED = os.environ.get("CLUSTER_FAILPOINTS", "")
LARGE = 150_000             # bytes of one large write, before base64
MORE_THAN_A_LOG = 45        # such writes: a log keeps 4 MiB of them
MORE_THAN_MEMORY = 9        # 1 MiB of the log is in memory; no log is cut to less than 2 MiB
WHEN_IT_LEADS = 150         # writes, which a server that takes the lead meanwhile has not seen before
WRITERS = 24
MORE_THAN_HISTORY = 10_800  # writes; 10,000 revisions are kept, and some more until it is worth it

print("SEED", SEED, "CLUSTER_FAILPOINTS", WANTED or "drawn", flush=True)
chance = random.Random(SEED)
cluster = Cluster(3)
cluster.start()
cluster.wait_voters(3)


def alive(device):
    return device.process and device.process.poll() is None


def agreed_leader(devices):
    """Of those that run; None while they do not agree."""
    named = {cluster.status(d)["leader"] for d in devices if alive(d)}
    return cluster.device(named.pop()) if len(named) == 1 and "" not in named else None


class Strike:
    """One failpoint, one action, one server."""

    def __init__(self, point, action, number):
        self.point, self.action, self.number = point, action, number
        self.armed, self.third = chance.sample(cluster.followers(), 2)
        self.is_armed = False
        self.nth = 1
        self.led = False  # the armed one, when it was there
        if point.cluster in ("load", "lead"):
            self.nth = chance.choice([1, 2, 5, 20, WHEN_IT_LEADS])
        elif action == "error" and (point.error == "lost" or point.name.startswith("peer.")):
            self.nth = 0  # again and again
        # A watch of a server ends where that is given a snapshot.
        self.away = {"behind": [self.armed], "serve": [self.third], "catch up": [self.third], "join": [self.armed],
                     "members": [self.third]}.get(point.cluster, [])
        watched = [d for d in cluster.devices if d not in self.away]
        self.load = Load(cluster.devices, f"f{number}", kubectl=True, watched=watched).start()

    def others(self):
        return [d for d in cluster.devices if d is not self.armed]

    def start_armed(self):
        self.is_armed = True
        start_armed(self.armed, self.point.name, self.action, self.nth)

    def arm(self):
        """In place of the server that runs there."""
        self.armed.kill()
        self.start_armed()

    def hit(self):
        return was_hit(self.armed)

    def back(self):
        """The armed one is one of them again, or is past the place before."""
        eventually(lambda: self.hit() or cluster.status(self.armed)["leader"], 30, "it is back")

    def lead(self):
        """The armed one takes the lead, or is past the place before."""
        self.back()
        for _ in range(8):
            leader = eventually(lambda: self.hit() or agreed_leader(cluster.devices), 40, "all know one leader")
            self.led = leader is self.armed
            if self.hit() or self.led:
                return
            self.displace(leader)
        raise Failure(f"{self.armed.name} does not come to lead")

    def displace(self, leader):
        """It hands over to the one of the others that answers."""
        other = next(d for d in cluster.devices if d not in (leader, self.armed))
        count = lambda: sum(len(w.acknowledged) for w in self.load.writers)
        other.process.send_signal(signal.SIGSTOP)
        try:
            before = count()
            eventually(lambda: self.hit() or count() > before, 30, "a write that the other one lacks")
            leader.stop()
        finally:
            other.process.send_signal(signal.SIGCONT)
            if not leader.process:
                leader.start_daemon(wait=False)

    def write_large(self, times):
        """Through any server that takes it, unless the place is reached before."""
        done = 0
        deadline = time.monotonic() + 120
        while done < times and not (self.is_armed and self.hit()):
            value = base64.b64encode(os.urandom(LARGE)).decode()
            done += apply(chance.choice([d for d in cluster.devices if alive(d)]), config_map(f"large-{done % 8}", value=value))
            expect(time.monotonic() < deadline, f"only {done} of {times} large writes were done")

    def leave(self, device):
        """It is a server no more, has no state, and will join."""
        if device.process:
            device.stop()
        leader = eventually(lambda: agreed_leader([d for d in cluster.devices if d is not device]), 40, "a leader")
        if cluster.member(device.name, leader):
            cluster.limpet(leader, f"node remove {device.name}")
        cluster.limpet(device, "reset --yes")
        token = cluster.limpet(leader, "token create --role server").split()[-1]
        device.configure(raft={"profile": cluster.profile}, join={"url": leader.url, "token": token})

    def forget_farewell(self):
        """A store that stops may say so to who watches; the watch goes on where it was."""
        for watcher in self.load.watchers:
            if watcher.device is self.armed:
                watcher.problems = [p for p in watcher.problems if "the store has stopped: failpoint" not in p]

    def over(self):
        self.load.over.set()
        self.load.done_watching.set()
        for watch in self.load.kubectl:
            watch.close()


def apply(device, thing):
    """Whether it was done."""
    path = f"{PATH}/{thing['metadata']['name']}?fieldManager=test&force=true"
    try:
        answer = device.api("PATCH", path, thing, check=False, headers={"Content-Type": "application/apply-patch+yaml"})
    except (OSError, Failure, ValueError):
        answer = {"kind": "none"}
    if answer["kind"] != "ConfigMap":
        time.sleep(0.05)
    return answer["kind"] == "ConfigMap"


# ---- what leads to a place: the last column of the table ----


def start(strike):
    strike.arm()


def load(strike):
    strike.arm()
    reading = threading.Thread(target=read, args=[strike], daemon=True)
    reading.start()
    if strike.nth == WHEN_IT_LEADS:
        strike.lead()


def read(strike):
    """What is newest, through the armed one: the leader is asked."""
    while not strike.hit():
        try:
            strike.armed.api("GET", f"{PATH}?limit=1", check=False)
        except (OSError, Failure, ValueError):
            time.sleep(0.05)


def lead(strike):
    strike.arm()
    strike.lead()


def election(strike):
    strike.arm()
    strike.back()
    leader = None if strike.hit() else agreed_leader(cluster.devices)
    if leader:
        leader.kill()
        # Where the armed one dies of it there is no majority until this one is back.
        eventually(strike.hit, 40, "there is an election")
        leader.start_daemon(wait=False)


def log(strike):
    strike.arm()
    strike.back()
    for _ in range(MORE_THAN_A_LOG):
        strike.write_large(1)
        # Or it falls behind the log of the leader, and is given a snapshot instead.
        eventually(lambda: strike.hit() or strike.armed.api("GET", f"{PATH}?limit=1"), 30, "it has it, too")


def history(strike):
    strike.arm()
    writers = [threading.Thread(target=write_much, args=[strike, n]) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()


def write_much(strike, number):
    """Its part of more than the history keeps, all of one object."""
    for n in range(MORE_THAN_HISTORY // WRITERS):
        if strike.hit():
            return
        apply(strike.others()[number % 2], config_map(f"much-{number}", n=str(n)))


def behind(strike):
    strike.armed.kill()
    strike.write_large(MORE_THAN_A_LOG)
    strike.start_armed()


def third_was_away(strike, writes):
    lead(strike)
    strike.third.kill()
    strike.write_large(writes)
    strike.third.start_daemon(wait=False)


def serve(strike):
    third_was_away(strike, MORE_THAN_A_LOG)


def catch_up(strike):
    third_was_away(strike, MORE_THAN_MEMORY)


def join(strike):
    strike.leave(strike.armed)
    strike.start_armed()


def members(strike):
    lead(strike)
    strike.third.stop()
    try:
        cluster.limpet(strike.armed, f"node remove {strike.third.name}")
    except Failure:
        expect(strike.hit(), "a server is to be removed")


def stop(strike):
    lead(strike)
    name = f"odd.{strike.number}"
    event = {"kind": "Event", "apiVersion": "v1", "metadata": {"name": name}, "reason": "Odd", "type": "Warning",
             "message": "to be saved", "involvedObject": {"kind": "Pod", "name": "odd", "namespace": "default"}}
    events = "/api/v1/namespaces/default/events"
    eventually(lambda: strike.armed.api("POST", events, event, check=False)["kind"] == "Event" or
               name in strike.armed.names(events), 30, "a warning that is to be saved")
    strike.armed.process.send_signal(signal.SIGTERM)


KINDS = {f.__name__.replace("_", " "): f for f in (start, load, lead, election, log, history, behind, serve, catch_up, join,
                                                   members, stop)}


# ---- the strike ----


def ends(strike):
    """Whether the armed server is to end by it; one that is told to stop does."""
    return strike.action == "kill" or strike.point.ends() or strike.point.cluster == "stop"


def end_of(strike):
    process = strike.armed.process
    if strike.action == "kill":
        expect_equal(process.wait(20), -signal.SIGKILL, "how it ended")
        return "died"
    if not ends(strike):
        return "went on"
    status = process.wait(60)
    expect(status >= 0, f"it ended by signal {-status}")
    return f"ended with {status}"


def whole_again(strike):
    if not ends(strike):
        expect_equal(strike.armed.process.poll(), None, "it still goes on")
        strike.armed.kill()
    strike.armed.process = None
    strike.armed.start_daemon(wait=False)
    if strike.point.cluster == "members":
        strike.leave(strike.third)
    start_all()
    eventually(lambda: cluster.status(agreed_leader(cluster.devices))["health"]["ok"], 60, "all are well")
    eventually(lambda: sum(m["role"] == "voter" for m in cluster.status(agreed_leader(cluster.devices))["members"]) == 3, 60,
               "three vote")
    strike.load.watch_again()
    strike.load.progress(through=cluster.devices)


def start_all():
    for device in cluster.devices:
        if not alive(device):
            device.start_daemon(wait=False)
    for device in cluster.devices:
        device.wait_ready(60)


def hold(point, action, number):
    start_all()  # whatever became of the one before
    strike = Strike(point, action, number)
    try:
        went = strike_once(strike)
        strike.load.stop()
        strike.forget_farewell()
        strike.load.check(cluster.devices)
    finally:
        strike.over()
    cluster.leader().api("DELETE", f"{PATH}?labelSelector=load%3D{strike.load.label}")
    role = "leader" if strike.led else "follower"
    print(f"{point.name}={action}@{strike.nth} ({point.cluster}): {role} {strike.armed.name} {went}", flush=True)


def strike_once(strike):
    strike.load.progress(through=cluster.devices)
    began = time.monotonic()
    KINDS[strike.point.cluster](strike)
    eventually(strike.hit, 60, f"{strike.armed.name} comes past {strike.point.name}")
    after = time.monotonic()
    how = end_of(strike)
    if sum(map(bool, map(alive, cluster.devices))) >= 2:
        strike.load.progress(through=[d for d in strike.others() if d not in strike.away])
    whole_again(strike)
    return f"was there after {after - began:.1f} s and {how}, whole {time.monotonic() - after:.1f} s later"


def drawn():
    """One of each kind; every other one dies, the others take the error path."""
    points = [p for p in table() if p.cluster != "-"]
    if WANTED:
        return [(p, a) for p in points if WANTED == "all" or p.name in WANTED.split(",") for a in ("kill", "error")]
    kinds = list(KINDS)
    chance.shuffle(kinds)
    return [(chance.choice([p for p in points if p.cluster == k]), ("kill", "error")[n % 2]) for n, k in enumerate(kinds)]


@case
def the_table_is_of_this_test():
    """Every word of its column is a kind, and every kind has a place."""
    expect_equal({p.cluster for p in table()} - {"-"}, set(KINDS))


def make_case(point, action, number):
    def one():
        hold(point, action, number)

    one.__name__ = f"{point.name}_{action}".replace(".", "_")
    case(one)


for place, (failpoint, what) in enumerate(drawn()):
    make_case(failpoint, what, place)

run(cluster, at_once=1)

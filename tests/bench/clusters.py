"""Rows of several servers. Each is a cluster of three in namespaces on one machine, which share its cores and disk."""
import json
import os
import statistics
import subprocess
import time

from case import Failure, eventually
from cluster import Cluster
from limpet import config_map, pod, pss_kb
from measure import Missing, Ratio, load, note, peer_program, row, settled

from rates import VALUE_BYTES, etcd_answer, etcd_words

RUNS = 5
CREATES = 5000
JOIN_OBJECTS = 10000
IDLE_SECONDS = int(os.environ.get("BENCH_LINK_SECONDS", "120"))
PATH = "/api/v1/namespaces/default/configmaps"


_made = 0


def new_cluster(count, **config):
    """Each has names, and so directories, of its own: nothing is left of the one before."""
    global _made
    _made += 1
    return Cluster(count, names=[f"c{_made}-{n}" for n in range(1, count + 1)], **config)


class Three:
    """Three servers that vote, as a context; the first of `cluster.devices` began the cluster."""

    def __init__(self, profile="lan"):
        self.cluster = new_cluster(3, profile=profile, logs={"level": "info"})

    def __enter__(self):
        self.cluster.start()
        self.cluster.wait_voters(3, 300)
        return self.cluster

    def __exit__(self, *_):
        leaks = self.cluster.close()
        if leaks:
            note("left behind: " + "; ".join(leaks))


def next_write(cluster, among, label):
    """Seconds until one of these devices acknowledges a write; they are asked in turn, as a client would that knows all."""
    began = time.monotonic()
    for number in range(2000):
        device = among[number % len(among)]
        answer = device.api("POST", PATH, config_map(f"{label}-{number}"), check=False)
        if answer.get("kind") == "ConfigMap":
            return time.monotonic() - began
        time.sleep(0.01)
    raise Failure("no write was acknowledged any more")


def failovers(trouble, mend):
    times = []
    with Three() as cluster:
        for run in range(RUNS):
            leader = cluster.leader()
            rest = [d for d in cluster.devices if d is not leader]
            next_write(cluster, rest, f"warm-{run}")
            trouble(cluster, leader)
            times.append(next_write(cluster, rest, f"after-{run}"))
            mend(cluster, leader)
            cluster.leader()
            eventually(lambda: cluster.status(cluster.leader())["health"]["ok"], 60, "all are in contact again")
            time.sleep(1)
    note(f"fail-over: {', '.join(f'{t * 1000:.0f}' for t in times)} ms")
    return statistics.median(times) * 1000


@row("ms", 1500, decimals=0)
def failover_ms():
    """The leader's link is cut, both ways, until another server acknowledges a write; median of five."""
    return failovers(lambda c, d: c.cut(d, "both"), lambda c, d: c.heal())


@row("ms", 1500, decimals=0)
def failover_kill_ms():
    """The same with kill -9: its connections break, which gives it away."""
    return failovers(lambda c, d: d.kill(), lambda c, d: d.start_daemon())


class ThreeEtcds:
    """Three members in the device namespaces of a cluster that does not run, so that the links are the same."""

    def __init__(self):
        self.cluster = new_cluster(3)
        self.processes = []

    def __enter__(self):
        members = ",".join(f"{d.name}=http://{d.address}:2380" for d in self.cluster.devices)
        for d in self.cluster.devices:
            with open(os.path.join(d.home, "etcd.log"), "wb") as log:
                self.processes.append(subprocess.Popen(
                    d.prefix + [peer_program("etcd"), "--name", d.name, "--data-dir", os.path.join(d.home, "etcd"),
                                "--listen-client-urls", f"http://{d.address}:2379", "--advertise-client-urls",
                                f"http://{d.address}:2379", "--listen-peer-urls", f"http://{d.address}:2380",
                                "--initial-advertise-peer-urls", f"http://{d.address}:2380", "--initial-cluster", members],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return [f"http://{d.address}:2379" for d in self.cluster.devices]

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
            process.wait()
        self.cluster.close()


def etcd_puts_of_three():
    with ThreeEtcds() as urls:
        words = etcd_words(urls[0])
        eventually(lambda: subprocess.run(words + ["200"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                          timeout=30).returncode == 0, 60, "etcd answers", every=0.3)
        return etcd_answer(words, CREATES)


def creates_of_three():
    with Three() as cluster:
        leader = cluster.leader()
        options = ("--create", PATH, "--bytes", VALUE_BYTES, "--clients", 64)
        load(leader, *options, "--total", 500, host=leader.address)
        done = load(leader, *options, "--total", CREATES, "--seconds", 120, host=leader.address)
    return done["requests"] / done["seconds"]


@row("x", 1.0, "three etcds without TLS, puts by etcd's own benchmark", 2, at_least=True)
def cluster_create_ratio():
    """ConfigMaps created over TLS by 64 clients at the leader of three, on two disks each when answered. The median of five
    runs, beside the median of as many of etcd, in turn: either one varies by a third on a machine with two cores."""
    if not peer_program("etcd") or not peer_program("etcd-benchmark"):
        raise Missing("no etcd, or no benchmark of it, to compare with")
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(creates_of_three())
        theirs.append(etcd_puts_of_three())
    note(f"cluster_create_ratio: {', '.join(f'{o:.0f}' for o in ours)} creates a second, etcd "
         f"{', '.join(f'{t:.0f}' for t in theirs)} puts")
    return Ratio(statistics.median(ours), statistics.median(theirs), "1/s")


class Counted:
    """IP packets between two devices, both ways, as the first one's kernel counts them; what others say to it, and what the
    addresses of the test's own segment need (ARP, router solicitations), is not theirs."""

    def __init__(self, device, other):
        self.device = device
        text = (f"table inet counted {{\nchain in {{ type filter hook input priority 0; ip saddr {other.address} counter; }}\n"
                f"chain out {{ type filter hook output priority 0; ip daddr {other.address} counter; }}\n}}\n")
        subprocess.run(device.prefix + ["nft", "-f", "-"], input=text, text=True, check=True)

    def read(self):
        """(packets, bytes)"""
        listed = subprocess.run(self.device.prefix + ["nft", "-j", "list", "table", "inet", "counted"], check=True,
                                stdout=subprocess.PIPE, text=True).stdout
        rules = [entry["rule"]["expr"] for entry in json.loads(listed)["nftables"] if "rule" in entry]
        counters = [e["counter"] for rule in rules for e in rule if "counter" in e]
        return sum(c["packets"] for c in counters), sum(c["bytes"] for c in counters)


def idle_link(profile):
    """Bytes an hour between the leader and one follower: IP packets, both ways."""
    with Three(profile) as cluster:
        time.sleep(30)
        counted = Counted(cluster.followers()[0], cluster.leader())
        before, began = counted.read(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        after, seconds = counted.read(), time.monotonic() - began
        memory = [resident_mb(d) for d in cluster.devices]
    packets, ip_bytes = after[0] - before[0], after[1] - before[1]
    note(f"idle link, {profile}: {packets / seconds:.2f} packets a second; memory of the three {', '.join(f'{m:.1f}' for m in memory)} MB")
    return ip_bytes * 3600 / seconds


@row("MB/h", 2.0, decimals=2)
def link_idle_lan_mb():
    """What an idle follower and its leader say to each other in an hour, profile lan."""
    return idle_link("lan") / 1e6


@row("KB/h", 100, decimals=0)
def link_idle_metered_kb():
    """The same, profile metered."""
    return idle_link("metered") / 1e3


def resident_mb(device):
    """Not its share of pages: three daemons on one machine have the program's in common, and each counts a third of them."""
    return pss_kb(device.process.pid, "Rss") / 1024


@row("MB", 2.0, decimals=2)
def follower_memory_mb():
    """What an idle follower of three needs beyond an idle device alone: resident pages, and those written by itself in the notes."""
    with Three() as cluster:
        time.sleep(30)
        followers = cluster.followers()
        follower = statistics.mean(resident_mb(d) for d in followers)
        follower_own = statistics.mean(pss_kb(d.process.pid, "Pss_Anon") for d in followers) / 1024
    alone = new_cluster(1)
    try:
        alone.start()
        time.sleep(30)
        single = resident_mb(alone.devices[0])
        single_own = pss_kb(alone.devices[0].process.pid, "Pss_Anon") / 1024
    finally:
        alone.close()
    note(f"follower_memory_mb: {follower:.2f} MB resident, {follower_own:.2f} written by itself; alone {single:.2f} and {single_own:.2f}")
    return follower - single


@row("MB", 8)
def agent_memory_mb():
    """An agent with ten pods: what idle_memory_mb counts of a server."""
    cluster = new_cluster(1, logs={"level": "info"})
    agent = cluster.add(f"{cluster.devices[0].name}-agent", registry=True)
    try:
        server = cluster.devices[0]
        server.start()
        agent.configure(role="agent", join={"url": server.url, "token": cluster.token(role="agent")})
        agent.registry.start().wait().push()
        agent.start_daemon(wait=False)
        eventually(lambda: server.api("GET", f"/api/v1/nodes/{agent.name}", check=False).get("kind") == "Node", 40, "the agent is a Node")
        names = [f"p{number}" for number in range(10)]
        for name in names:
            wanted = pod(name)
            wanted["spec"]["nodeName"] = agent.name
            server.create(wanted)
        for name in names:
            server.wait_ready_pod(name, 120)
        return settled(lambda: pss_kb(agent.process.pid, "Rss")) / 1024
    finally:
        cluster.close()


@row("s", 10, decimals=1)
def join_10k_seconds():
    """A server joins a cluster of one that holds 10,000 objects, until it is ready and has all of them."""
    cluster = new_cluster(2, logs={"level": "info"})
    try:
        first, second = cluster.devices
        first.start()
        load(first, "--create", PATH, "--bytes", VALUE_BYTES, "--clients", 32, "--total", JOIN_OBJECTS, "--seconds", 300,
             host=first.address)
        began = time.monotonic()
        cluster.join(second)
        eventually(lambda: (cluster.member(second.name) or {}).get("behind") == 0, 120, "it has caught up")
        return time.monotonic() - began
    finally:
        cluster.close()

"""Several devices on one segment, each in network and mount namespaces of its own below those of the test.

    cluster = Cluster(3)
    cluster.start()                         # the first begins the cluster, the others join it one after the other
    cluster.cut(device, "both")             # nothing reaches it and it reaches nobody; "in": it hears nothing
    cluster.heal(device)
    run(cluster)                            # of case.py

The segment is a bridge in the test's own namespace. Cuts are made by nft in the namespace of the one who does not
hear, on its input hook: dropping on output would make sendto() fail, which no network does.
"""
import os
import subprocess

from case import Failure, eventually
from limpet import Device

BRIDGE = "cluster0"
NETWORK = "10.99.0"


def _sh(*words, check=True):
    return subprocess.run(words, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


class Cluster:
    def __init__(self, count, registry=False, profile="lan", names=None, **config):
        self.profile = profile
        _sh("ip", "link", "add", BRIDGE, "type", "bridge")
        _sh("ip", "address", "add", f"{NETWORK}.254/24", "dev", BRIDGE)
        _sh("ip", "link", "set", BRIDGE, "up")
        self.devices = []
        for number in range(1, count + 1):
            self.add(names[number - 1] if names else f"edge-{number}", registry=registry, **config)

    def add(self, name, registry=False, **config):
        """A further device on the segment, not started."""
        number = len(self.devices) + 1
        device = Device(name=name, apart=True, registry=registry,
                        **{"raft": {"profile": self.profile}, **config})
        device.address = f"{NETWORK}.{number}"
        device.url = f"https://{device.address}:6443"
        outer, inner = f"dev{number}", "eth0"
        _sh("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", str(device.holder.pid))
        _sh("ip", "link", "set", outer, "master", BRIDGE, "up")
        device.link = outer
        for words in (["ip", "address", "add", f"{device.address}/24", "dev", inner], ["ip", "link", "set", inner, "up"],
                      ["ip", "route", "add", "default", "via", f"{NETWORK}.254"]):
            _sh(*device.prefix, *words)
        self.devices.append(device)
        return device

    # ---- life ----

    def start(self, count=None):
        first, *others = self.devices[:count]
        first.start()
        for device in others:
            self.join(device)
        return self

    def token(self, role="server", options=""):
        return self.limpet(self.devices[0], f"token create --role {role} {options}").split()[-1]

    def limpet(self, device, words, status=0):
        """Both outputs of the limpet command, which must end with this status."""
        code, out, err = device.run(f"limpet --config {device.config_file} {words}")
        if code != status:
            raise Failure(f"limpet {words}: exit code {code}: {out}{err}")
        return out + ("" if status == 0 else err)

    def join(self, device, through=None, wait=True):
        through = through or self.devices[0]
        device.configure(raft={"profile": self.profile}, join={"url": through.url, "token": self.token()})
        device.start(wait=wait)
        if wait:
            eventually(lambda: self.member(device.name), 30, f"{device.name} is a member")
        return device

    def status(self, device=None):
        """What `limpet cluster status -o json` says, of the leader if it can be asked."""
        return (device or self.devices[0]).api("GET", "/limpet/v1/cluster")

    def member(self, name, device=None):
        return next((m for m in self.status(device)["members"] if m["name"] == name), None)

    def leader(self, among=None, seconds=20):
        """The device that leads, as seen by those in question."""
        among = among or self.devices

        def find():
            named = {self.status(d)["leader"] for d in among if d.process}
            return self.device(named.pop()) if len(named) == 1 and "" not in named else None

        return eventually(find, seconds, "all know one leader")

    def device(self, name):
        return next(d for d in self.devices if d.name == name)

    def followers(self):
        leader = self.leader()
        return [d for d in self.devices if d is not leader and d.process]

    def wait_voters(self, count, seconds=40):
        eventually(lambda: sum(m["role"] == "voter" for m in self.status()["members"]) == count, seconds,
                   f"{count} voters")

    def move(self, device, address):
        """Another address on the segment, in place of the one that it has."""
        for words in (["ip", "address", "del", f"{device.address}/24", "dev", "eth0"],
                      ["ip", "address", "add", f"{address}/24", "dev", "eth0"],
                      ["ip", "route", "replace", "default", "via", f"{NETWORK}.254"]):
            _sh(*device.prefix, *words)
        device.address = address
        device.url = f"https://{address}:6443"

    # ---- trouble ----

    def cut(self, device, way="both"):
        """`in`: it hears nothing; `out`: nobody hears it; `both`."""
        rules = ""
        if way in ("in", "both"):
            rules += f'iifname "eth0" drop\n'
        if rules:
            self._rules(device, rules)
        if way in ("out", "both"):
            for other in self.devices:
                if other is not device:
                    other.deaf_to = getattr(other, "deaf_to", set()) | {device.address}
                    self._deaf(other)

    def heal(self, device=None):
        for each in self.devices if device is None else [device]:
            subprocess.run(each.prefix + ["nft", "delete", "table", "inet", "cut"], check=False, stderr=subprocess.DEVNULL)
            for other in self.devices:
                if each.address in getattr(other, "deaf_to", set()):
                    other.deaf_to.discard(each.address)
                    self._deaf(other)

    def _rules(self, device, rules, table="cut"):
        text = (f"table inet {table} {{\n}}\ndelete table inet {table}\ntable inet {table} {{\nchain in {{\n"
                f"type filter hook input priority -10;\n{rules}}}\n}}\n")
        subprocess.run(device.prefix + ["nft", "-f", "-"], input=text, text=True, check=True)

    def _deaf(self, device):
        self._rules(device, "".join(f"ip saddr {a} drop\n" for a in sorted(device.deaf_to)), table="deaf")

    # ---- for run() ----

    def log_tail(self, lines=15):
        return "\n".join(f"=== {d.name}\n{d.log_tail(lines)}" for d in self.devices if os.path.exists(d.log_file))

    def close(self):
        self.heal()
        leaks = []
        for device in self.devices:
            if device.process:
                device.process.send_signal(18)  # SIGCONT: it may have been stopped
        for device in reversed(self.devices):
            try:
                if device.process:
                    device.stop()
            except Failure as failure:
                leaks.append(str(failure))
            device._end()
            # A namespace ends some time after its last process, and its links with it: the next cluster has the same names.
            subprocess.run(["ip", "link", "delete", device.link], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False)
        return leaks

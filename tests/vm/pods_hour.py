#!/usr/bin/env python3
# timeout: 86400
# parallel: yes
"""A device of 128 MB and ten pods of many kinds, for VM_MINUTES of its own time (default 1; the judged run is 60): what
should run runs and was never restarted, what crashes is restarted with its back-off, and memory, descriptors, mounts and
control groups stay where they were. In the last sixth of the time the two pods that write are asked to be quiet: then the guest
writes next to nothing to its disk.
"""
import json
import os
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from guest import POD_PORT, Guest
from case import case, eventually, expect, expect_equal, run

IMAGE = "127.0.0.1:5000/busybox:1"
SECONDS = float(os.environ.get("VM_MINUTES", "1")) * 60
BUSY, QUIET = SECONDS * 5 / 6, SECONDS / 6
EVERY = max(20, min(180, BUSY / 4))  # seconds from one look to the next
GROWTH_KB = 2048                     # of the daemon, and of all shims together, from the first half of the looks to the second
# Of the whole guest, once the pods are quiet, whoever writes them: seen were 0 in 23 s, 248 in 181 s, 144 in 281 s, 208 in 601 s.
QUIET_SECTORS = min(512, 64 + 2 * QUIET)
BACK_OFF = [10, 20, 40, 80, 160, 300]  # seconds before each restart of what crashes; the last for ever
# An emulated processor that shares its host is late: what probes find is judged, not how soon.
PATIENT = {"timeoutSeconds": 30, "failureThreshold": 6}

guest = Guest().start()


def container(command, **more):
    return {"name": "main", "image": IMAGE, "command": ["sh", "-c", command] if isinstance(command, str) else command, **more}


def template(name, main, **spec):
    return {"metadata": {"name": name, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 2, "containers": [main], **spec}}


def pod(name, main, **spec):
    return {"apiVersion": "v1", "kind": "Pod", **template(name, main, **spec)}


def web(**more):
    http = {"httpGet": {"path": "/", "port": 8080}, **PATIENT}
    return container(["httpd", "-f", "-p", "8080", "-h", "/www"], readinessProbe={**http, "periodSeconds": 5},
                     livenessProbe={**http, "periodSeconds": 10}, volumeMounts=[{"name": "page", "mountPath": "/www"}],
                     resources={"limits": {"memory": "16Mi"}, "requests": {"cpu": "10m", "memory": "2Mi"}}, **more)


PAGE = [{"name": "page", "configMap": {"name": "page"}}]
# Files in it make the pods that write be quiet.
KNOBS = {"volumes": [{"name": "knobs", "hostPath": {"path": "/run/knobs", "type": "Directory"}}]}
KNOBS_MOUNT = {"volumeMounts": [{"name": "knobs", "mountPath": "/knobs"}]}
OBJECTS = [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "page"}, "data": {"index.html": "ten pods\n", "color": "blue"}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"password": "hold"}},
    pod("front", web(ports=[{"containerPort": 8080, "hostPort": POD_PORT}]), volumes=PAGE),
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
     "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("web", web(), volumes=PAGE)}},
    pod("talker", container("n=0; while sleep 1; do [ -e /knobs/quiet ] || { n=$((n + 1)); echo line $n; }; done", **KNOBS_MOUNT), **KNOBS),
    # Takes and gives back half of what it may have.
    pod("limited", container("while sleep 5; do dd if=/dev/zero of=/dev/null bs=8M count=1 2>/dev/null || exit 9; done",
                             resources={"limits": {"memory": "16Mi", "cpu": "500m"}})),
    pod("crasher", container("while [ -e /knobs/quiet ]; do sleep 5; done; echo falls; exit 3", **KNOBS_MOUNT), **KNOBS),
    pod("configured", container("cp /s/password /d/kept; while sleep 5; do cmp -s /s/password /d/kept || exit 7; done",
                                env=[{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "page", "key": "color"}}}],
                                volumeMounts=[{"name": "s", "mountPath": "/s"}, {"name": "d", "mountPath": "/d"}]),
        volumes=[{"name": "s", "secret": {"secretName": "keys"}}, {"name": "d", "emptyDir": {}}]),
    pod("asked", container("touch /m/alive; exec sleep 1000000",
                           livenessProbe={"exec": {"command": ["cat", "/m/alive"]}, "periodSeconds": 20, **PATIENT},
                           volumeMounts=[{"name": "m", "mountPath": "/m"}]),
        volumes=[{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]),
    pod("pair", container("until [ -e /d/made ]; do sleep 1; done; exec sleep 1000000", volumeMounts=[{"name": "d", "mountPath": "/d"}]),
        volumes=[{"name": "d", "emptyDir": {}}],
        initContainers=[{**container("touch /d/made; exec sleep 1000000", volumeMounts=[{"name": "d", "mountPath": "/d"}]),
                         "name": "helper", "restartPolicy": "Always"}]),
]
PODS = 10
COUNTS = """
    pid=$(systemctl show limpetd -p MainPID --value)
    pss() { cat "$@" 2>/dev/null | awk '/^Pss:/ { n += $2 } END { print n + 0 }'; }
    # The runtime is at home in that group, too, while it starts something.
    smaps() { for p in $(cat /sys/fs/cgroup/limpet/shims/cgroup.procs); do
      [ "$(cat /proc/$p/comm 2>/dev/null)" != limpet-shim ] || echo /proc/$p/smaps_rollup; done; }
    echo daemon $(pss /proc/$pid/smaps_rollup)
    echo shims $(pss $(smaps))
    echo descriptors $(ls /proc/$pid/fd | wc -l)
    echo threads $(ls /proc/$pid/task | wc -l)
    echo mounts $(wc -l </proc/self/mountinfo)
    echo cgroups $(find /sys/fs/cgroup/limpet -type d | wc -l)
    echo links $(ip -o link | wc -l)
    echo run $(df -k /run | awk 'END { print $3 }')
    awk '/^MemAvailable:/ { print "available", $2 }' /proc/meminfo
    echo ooms $(dmesg | grep -ciE 'out of memory|oom-kill')
    echo restarts $(systemctl show limpetd -p NRestarts --value)
    echo failed $(systemctl --failed --no-legend --plain | wc -l)"""


def uptime():
    return float(guest.run("cat /proc/uptime").split()[0])


def containers():
    """What the device says of each container: phase of its pod, readiness, restarts, start."""
    return {(p["pod"], c["name"]): (p["phase"], c["ready"], c["restarts"], c["since"])
            for p in json.loads(guest.run("limpet ps -o json")) for c in p["containers"]}


def steady(found):
    """Of all containers but the one that crashes."""
    return {key: what for key, what in found.items() if key[0] != "crasher"}


def counts():
    return {key: int(number) for key, number in (line.split() for line in guest.run(COUNTS).splitlines())}


def page():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{POD_PORT}/", timeout=60) as answer:
        return answer.read().decode()


def last_line():
    return int(guest.run("limpet logs talker --tail 1").split()[-1])


def most_restarts(seconds):
    """Of a container that ends at once, so long after its first start."""
    number, at = 0, 0
    while at <= seconds:
        at += BACK_OFF[min(number, len(BACK_OFF) - 1)]
        number += 1
    return number


class Watch:
    """Looks at the device again and again, and compares with what the first look found."""

    def __init__(self, applied):
        self.applied = applied  # when the pods were
        self.pods, self.first, self.line = steady(containers()), counts(), last_line()
        self.begin, self.crashes, self.asked = uptime(), 0, 0
        self.looks = []

    def look(self):
        now, found = counts(), containers()
        self.looks.append(now)
        print(f"{uptime() - self.begin:6.0f} s: " + ", ".join(f"{key} {number}" for key, number in now.items()), flush=True)
        expect_equal(steady(found), self.pods, "the pods")
        expect_equal(guest.kubectl("get deployment web -o jsonpath={.status.readyReplicas}/{.status.updatedReplicas}"), "3/3")
        self.look_crasher(found[("crasher", "main")])
        expect_equal(page(), "ten pods\n")
        expect_equal([now[key] for key in ("ooms", "restarts", "failed")], [0, 0, 0], "OOM kills, restarts, failed units")
        for key in ("threads", "links"):
            expect_equal(now[key], self.first[key], key)
        # Connections and probes under way, and the container that crashes being there or not.
        for key, some in (("descriptors", 12), ("mounts", 4), ("cgroups", 4), ("run", 1024)):
            expect(now[key] <= self.first[key] + some, f"{key}: {now[key]} after {self.first[key]}")
        expect(now["available"] > 16 << 10, f"only {now['available']} KB are available")
        self.look_commands()

    def look_back(self):
        for key in self.first:
            print(f"{key}: {min(one[key] for one in self.looks)} to {max(one[key] for one in self.looks)}")
        for key in ("daemon", "shims"):
            numbers = [one[key] for one in self.looks]
            half = (len(numbers) + 1) // 2
            expect(max(numbers[half:]) <= max(numbers[:half]) + GROWTH_KB, f"PSS of {key}, KB, at each look: {numbers}")

    def look_crasher(self, what):
        self.crashes = what[2]
        most = most_restarts(uptime() - self.applied) + self.asked
        expect(self.crashes <= most, f"{self.crashes} restarts, where the back-off leaves room for {most}")

    @staticmethod
    def look_commands():
        top = json.loads(guest.run("limpet top -o json"))["containers"]
        shown = {c["pod"] for c in top if c["memoryBytes"] > 0 and c["pids"] > 0}
        expect(len(shown - {"crasher"}) == PODS - 1, f"limpet top shows {sorted(shown)}")
        status = json.loads(guest.run("limpet status -o json"))
        expect_equal(status.get("notReady", []), [], "limpet status")
        expect(status["daemon"]["pssBytes"] > 0, f"limpet status: {status}")
        expect_equal(guest.run("limpet exec configured -- sh -c 'echo $COLOR; cat /d/kept'"), "blue\nhold")


def sectors():
    """Written to the guest's one disk since it is on."""
    return int(guest.run("sync; awk '{ print $7 }' /sys/block/vda/stat"))


def writers():
    """What each process has made dirty of files on a disk (not of tmpfs), in bytes: (pid, name) to number."""
    lines = guest.run("""for p in /proc/[0-9]*; do
        echo ${p#/proc/} $(tr ' ' _ <$p/comm) $(sed -n 's/^write_bytes: //p' $p/io)
        done 2>/dev/null | grep -E ' [0-9]+$'""").splitlines()
    return {(pid, name): int(number) for pid, name, number in (line.split() for line in lines)}


state = {}


@case
def a_ten_pods_run():
    # A host with other work may keep the whole guest waiting for longer than the unit's watchdog has patience
    # (systemd_device.py has that one's test).
    guest.run("""mkdir -p /run/knobs /run/systemd/system/limpetd.service.d
        printf '[Service]\\nWatchdogSec=10min\\n' >/run/systemd/system/limpetd.service.d/patient.conf
        systemctl daemon-reload; systemctl enable limpetd && systemctl start limpetd""", 400)
    guest.fetch_kubeconfig()
    begin = uptime()
    guest.kubectl("apply -f -", input="\n---\n".join(json.dumps(o) for o in OBJECTS))
    guest.kubectl("rollout status deployment/web --timeout=600s", 630)
    for name in ("front", "talker", "limited", "configured", "asked", "pair"):
        guest.kubectl(f"wait --for=condition=Ready pod/{name} --timeout=600s", 630)
    eventually(lambda: containers()[("crasher", "main")][2] >= 2, 600, "what crashes was restarted twice", every=2)
    expect_equal(len({key[0] for key in containers()}), PODS)
    state["watch"] = Watch(begin)


@case
def b_they_go_on():
    watch, written = state["watch"], sectors()
    while uptime() < watch.begin + BUSY:
        time.sleep(EVERY)
        watch.look()
        line = last_line()
        expect(line > watch.line, f"the pod that writes a line each second is still at {line}")
        watch.line = line
    how = json.loads(guest.kubectl("get pod crasher -o json"))["status"]["containerStatuses"][0]
    ended = how["state"].get("terminated") or how["lastState"]["terminated"]
    expect_equal((ended["exitCode"], ended["reason"]), (3, "Error"))
    eventually(lambda: containers()[("crasher", "main")][2] > 2, 600, "what crashes is restarted again", every=2)
    print(f"restarts of what crashes: {watch.crashes}; {sectors() - written} sectors written in {uptime() - watch.begin:.0f} s")
    watch.look_back()


@case
def c_with_nothing_to_write_little_is_written():
    guest.run("touch /run/knobs/quiet && limpet restart crasher")
    state["watch"].asked = 1
    eventually(lambda: containers()[("crasher", "main")][1], 120, "it runs")
    # The last warnings are saved at a clean stop, or else within ten minutes of a change.
    guest.run("systemctl restart limpetd", 300)
    eventually(lambda: containers()[("crasher", "main")][1], 120, "it runs")
    time.sleep(15)  # what was under way: the status of that pod, the last line of the other
    before, begin, by = sectors(), uptime(), writers()
    time.sleep(QUIET)
    written, seconds = sectors() - before, uptime() - begin
    more = {who: number - by.get(who, 0) for who, number in writers().items() if number > by.get(who, 0)}
    print(f"{written} sectors in {seconds:.0f} s; by {more}")
    expect(not [who for who in more if who[1].startswith("limpet")], f"written with ten quiet pods, in bytes: {more}")
    expect(written <= QUIET_SECTORS, f"{written} sectors written in {seconds:.0f} s with ten quiet pods")
    state["watch"].look()
    state["watch"].look_back()


@case
def d_all_of_it_ends():
    guest.kubectl("delete deployment/web pod/front pod/talker pod/limited pod/crasher pod/configured pod/asked pod/pair --wait=false")
    guest.eventually("[ -z \"$(find /sys/fs/cgroup/limpet -name 'pod*')\" ] && echo gone", 300)
    guest.eventually("[ -z \"$(ip -o link show type veth)\" ] && echo gone", 60)


run(guest, at_once=1)

#!/usr/bin/env python3
# timeout: 2400
# parallel: yes
"""A device in trouble, under a real systemd: the clock is really set, to 1970 and years ahead; the daemon fails at every
start and comes back by itself when the reason is gone; `limpet reset --stop` ends it, in a crash loop or not. No container
is touched until the reset, and that leaves nothing."""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from guest import Guest
from case import case, eventually, expect, expect_equal, expect_match, run

YEAR = 365 * 86400
DATABASE = "/var/lib/limpet/limpet.db"
guest = Guest().start()


def processes():
    """Every process in a pod's control group and every shim as "PID STARTTIME COMMAND": what must not change."""
    return guest.run("""
        for pid in $(cat $(find /sys/fs/cgroup/limpet -name cgroup.procs) </dev/null | sort -n); do
          read -r text </proc/$pid/stat && rest=${text##*) } && set -- $rest && echo "$pid ${20} $(cat /proc/$pid/comm)"
        done""")


def pods():
    """What the device says of each container: phase, restarts, start, readiness."""
    return {p["pod"]: (p["phase"], c["restarts"], c["since"], c["ready"])
            for p in json.loads(guest.run("limpet ps -o json")) for c in p["containers"]}


def unit(name):
    return guest.run(f"systemctl show limpetd -p {name} --value").strip()


def run_workload():
    guest.run("systemctl enable limpetd; systemctl start limpetd", 400)
    guest.fetch_kubeconfig()
    guest.kubectl("apply -f configs/examples/hello.yaml")
    guest.kubectl("wait --for=condition=Ready pod/hello --timeout=300s", 330)


def set_clock(when):
    told = "journalctl -u limpetd -o cat --no-pager | grep -c 'the clock was set' || true"
    before = int(guest.run(told))
    guest.run(f"date -s @{int(when)}")
    eventually(lambda: int(guest.run(told)) > before, 120, "the jump is noticed", every=0.5)


def works(label):
    """With the kubeconfig that is on the device now, whose user is elsewhere and has the right time."""
    def kubectl():
        guest.fetch_kubeconfig()
        return guest.kubectl("get pod hello -o jsonpath={.status.containerStatuses[0].restartCount}") == "0"

    eventually(kubectl, 200, f"kubectl, {label}", every=0.5)
    expect_match(r"1 of 1 running", guest.run("limpet status"), label)
    expect_equal(guest.run("limpet exec hello -- cat /www/index.html"), "limpet holds on\n", label)


@case
def a_the_clock_is_set():
    run_workload()
    before, daemon = processes(), unit("MainPID")
    expect_match("httpd", before)
    for label, when in (("1970", 1000), ("9 years ahead", time.time() + 9 * YEAR), ("right again", time.time())):
        set_clock(when)
        works(label)
        # A pod that is made at this time runs and ends.
        name = re.sub("[^a-z0-9]", "-", label)
        guest.kubectl(["run", name, "--image=127.0.0.1:5000/busybox:1", "--restart=Never", "--", "true"])
        guest.kubectl(f"wait --for=jsonpath={{.status.phase}}=Succeeded pod/{name} --timeout=200s", 230)
        guest.kubectl(f"delete pod {name} --timeout=200s", 230)
        expect_equal(processes(), before, label)
    expect_equal((unit("MainPID"), unit("NRestarts")), (daemon, "0"), "the daemon")


@case
def b_started_in_1970():
    """Begun when the clock is wrong, and adopted when it is right again."""
    before = processes()
    guest.run("systemctl stop limpetd && date -s @1000 && systemctl start limpetd", 400)
    works("started in 1970")
    set_clock(time.time())
    works("right after a start in 1970")
    guest.run("systemctl restart limpetd", 400)
    works("started at the right time")
    expect_equal(processes(), before)


def break_database():
    guest.run(f"""systemctl stop limpetd && mv {DATABASE} /root/kept && head -c 65536 /dev/zero | tr '\\0' x >{DATABASE}
        systemctl start limpetd || true""", 400)


def many_failures():
    """More than the five starts after which systemd would give up, and it goes on: ever more slowly, since each writes to
    the journal, which is on flash."""
    guest.eventually("""[ "$(systemctl show limpetd -p NRestarts --value)" -ge 6 ] && echo again and again""", 300)
    expect_equal((unit("ActiveState"), unit("RestartUSecNext")), ("activating", "15s"))


@case
def c_a_crash_loop_ends_by_itself():
    before, shown = processes(), pods()
    break_database()
    many_failures()
    code, said = guest.try_run("limpet doctor")
    expect_equal(code, 1)
    expect_match(r"store", said)
    expect_equal(processes(), before, "while the daemon cannot start")
    # Nobody starts it: the reason is gone, and that is all.
    guest.run(f"mv /root/kept {DATABASE}")
    guest.eventually("""[ "$(systemctl is-active limpetd)" = active ] && limpet status >/dev/null && echo up""", 300)
    works("after a crash loop")
    expect_equal((processes(), pods()), (before, shown))
    # It runs, and the next failure is the first again.
    guest.eventually("""[ "$(systemctl show limpetd -p NRestarts --value)" = 0 ] && echo forgotten""", 120)


def all_gone():
    expect_equal(guest.run("find /sys/fs/cgroup/limpet 2>/dev/null || true"), "", "control groups")
    expect_equal(guest.run("pgrep -a 'limpet|httpd' || true"), "", "processes")
    expect_equal(guest.run("grep -E 'limpet' /proc/self/mountinfo || true"), "", "mounts")
    expect_equal(guest.run("ip -o link | grep -E 'limpet0|veth' || true"), "", "links")
    expect_equal(guest.run("nft list tables"), "", "rules")
    expect_equal(guest.run("ls -d /run/limpet /etc/limpet/admin.kubeconfig /var/lib/limpet/*.db /var/log/pods/* 2>/dev/null || true"), "")
    expect_equal(guest.run("ls /var/lib/limpet").split(), ["images"])


@case
def d_reset_stops_it():
    code, said = guest.try_run("limpet reset --yes")
    expect_equal(code, 1)
    expect_match(r"limpetd runs \(pid \d+\): stop it first", said)
    expect_match("httpd", processes())
    said = guest.run("limpet reset --yes --stop", 300)
    for what in ("containers, and the control groups", "the bridge limpet0", "the nft table limpet"):
        expect_match("removed: +" + what, said)
    all_gone()
    expect_equal((unit("ActiveState"), unit("Result"), guest.run("systemctl is-enabled limpetd").strip()),
                 ("inactive", "success", "enabled"))


@case
def e_reset_in_a_crash_loop():
    run_workload()
    break_database()
    many_failures()
    code, said = guest.try_run("limpet reset --yes")
    expect_equal(code, 1)
    expect_match(r"limpetd.service is about to start limpetd: stop it first", said)
    guest.run("rm /root/kept; limpet reset --yes --stop", 300)
    all_gone()
    expect_equal(unit("ActiveState"), "inactive")
    run_workload()
    works("after the reset")


run(guest, at_once=1)

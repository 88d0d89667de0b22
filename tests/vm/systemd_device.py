#!/usr/bin/env python3
# timeout: 2400
# parallel: yes
"""The unit file on a device of 128 MB: systemd starts the daemon and hears that it is ready, the quickstart's workload
answers, and no restart, kill or stall of the daemon touches a container."""
import os
import re
import sys
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from guest import POD_PORT, Guest
from case import case, eventually, expect, expect_equal, expect_match, run

guest = Guest().start()


def unit(*properties):
    """Of limpetd.service, as systemd sees it."""
    lines = guest.run("systemctl show limpetd -p " + ",".join(properties)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def wait_running_daemon(not_pid="0"):
    """Until systemd has heard READY of a process other than that one."""
    guest.eventually(f"""[ "$(systemctl is-active limpetd)" = active ] &&
        pid=$(systemctl show limpetd -p MainPID --value) && [ "$pid" != 0 ] && [ "$pid" != {not_pid} ] && echo "$pid" """,
                     300, "limpetd is active again")
    guest.eventually("limpet status >/dev/null && echo up", 120)


def containers():
    """Every process in a pod's control group as "PID STARTTIME COMMAND", and every shim: what must not change. The runtime is at
    home there, too, while a new daemon asks it, and may be gone before it is looked at."""
    return guest.run("""
        for pid in $(cat $(find /sys/fs/cgroup/limpet -name cgroup.procs) </dev/null | sort -n); do
          read -r text 2>/dev/null </proc/$pid/stat || continue
          name=${text#*(} name=${name%)*} rest=${text##*) }
          case $name in limpetd|crun|runc) continue ;; esac
          set -- $rest && echo "$pid ${20} $name"
        done""")


def hello():
    """Restarts of the container, its id and the pod's address."""
    return guest.kubectl("get pod hello -o jsonpath={.status.containerStatuses[0].restartCount}"
                         "/{.status.containerStatuses[0].containerID}/{.status.podIP}")


def answers():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{POD_PORT}/", timeout=60) as answer:
        return answer.read().decode()


@case
def a_service_starts_and_says_ready():
    guest.run("systemctl enable limpetd && systemctl start limpetd", 400)
    state = unit("Type", "ActiveState", "SubState", "NRestarts", "WatchdogUSec", "Delegate", "OOMScoreAdjust")
    expect_equal(state, {"Type": "notify", "ActiveState": "active", "SubState": "running", "NRestarts": "0",
                         "WatchdogUSec": "30s", "Delegate": "yes", "OOMScoreAdjust": "-900"})
    guest.fetch_kubeconfig()
    expect_equal(guest.kubectl("get --raw /readyz"), "ok")
    # The Node comes a moment after the API is ready.
    eventually(lambda: re.search(r"^guest\s+Ready", guest.kubectl("get nodes"), re.MULTILINE), 60, "the Node is Ready")
    expect_match(r"\S", guest.run("limpet status"))


@case
def b_quickstart_workload_answers():
    guest.kubectl("apply -f configs/examples/hello.yaml")
    guest.kubectl("wait --for=condition=Ready pod/hello --timeout=300s", 330)
    expect_equal(answers(), "limpet holds on\n")
    address = guest.kubectl("get pod hello -o jsonpath={.status.podIP}")
    expect_equal(guest.run(f"busybox wget -q -O - http://{address}:8080/"), "limpet holds on\n")
    expect_match("hello", guest.run("limpet ps"))


@case
def c_128_mb_are_enough():
    available = int(re.search(r"MemAvailable: *(\d+)", guest.run("cat /proc/meminfo")).group(1)) / 1024
    daemon = guest.run("cat /proc/$(systemctl show limpetd -p MainPID --value)/smaps_rollup")
    pss = int(re.search(r"^Pss: *(\d+)", daemon, re.MULTILINE).group(1)) / 1024
    print(f"{available:.1f} MB are available beside one pod, the daemon's PSS is {pss:.1f} MB")
    expect(available > 24, f"{available:.1f} MB are left")
    expect(pss < 16, f"the daemon takes {pss:.1f} MB")
    expect_equal(guest.run("dmesg | grep -ci 'out of memory' || true").strip(), "0")
    expect_equal(guest.run("systemctl --failed --no-legend --plain").strip(), "")


@case
def d_restart_is_not_noticed():
    before, identity, pid = containers(), hello(), unit("MainPID")["MainPID"]
    expect_match("limpet-shim", before)
    expect_match("httpd", before)
    guest.run("systemctl restart limpetd", 300)
    wait_running_daemon(pid)
    expect_equal(containers(), before)
    expect_equal(hello(), identity)
    expect_equal(answers(), "limpet holds on\n")


@case
def e_stopped_the_containers_go_on():
    before, identity = containers(), hello()
    guest.run("systemctl stop limpetd", 120)
    expect_equal(unit("ActiveState", "Result"), {"ActiveState": "inactive", "Result": "success"})
    expect_equal(containers(), before)
    expect_equal(answers(), "limpet holds on\n")
    guest.run("systemctl start limpetd", 300)
    expect_equal(containers(), before)
    expect_equal(hello(), identity)


@case
def f_killed_systemd_starts_it_again():
    before, identity = containers(), hello()
    for kill in range(2):
        pid = unit("MainPID")["MainPID"]
        guest.run(f"kill -9 {pid}")
        wait_running_daemon(pid)
        expect_equal(containers(), before)
        expect_equal(hello(), identity)
    expect_equal(answers(), "limpet holds on\n")


@case
def g_stuck_the_watchdog_ends_it():
    before, identity = containers(), hello()
    pid = unit("MainPID")["MainPID"]
    guest.run(f"kill -STOP {pid}")
    wait_running_daemon(pid)
    expect_match("[Ww]atchdog", guest.run("journalctl -u limpetd --no-pager -o cat -n 80", 300))
    expect_equal(containers(), before)
    expect_equal(hello(), identity)
    expect_equal(answers(), "limpet holds on\n")


@case
def h_reload_keeps_the_process():
    pid = unit("MainPID")["MainPID"]
    guest.run("systemctl reload limpetd")
    expect_equal(guest.kubectl("get --raw /readyz"), "ok")
    expect_equal(unit("MainPID", "ActiveState"), {"MainPID": pid, "ActiveState": "active"})


@case
def i_deleted_nothing_is_left():
    guest.kubectl("delete -f configs/examples/hello.yaml --timeout=120s", 150)
    guest.eventually("[ -z \"$(find /sys/fs/cgroup/limpet -name 'pod*')\" ] && echo gone", 60)
    guest.eventually("! grep -q /run/limpet/pods /proc/self/mountinfo && echo gone", 60)
    guest.eventually("[ -z \"$(ip -o link show type veth)\" ] && echo gone", 60)


run(guest, at_once=1)

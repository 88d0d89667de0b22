#!/usr/bin/env python3
# timeout: 120
"""limpet reset: refuses, asks, undoes everything of a device with pods, and can be run again; what is not ours stays."""
import os
import subprocess
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, expect, expect_equal, expect_match, run, skip
from limpet import config_map, pod, pod_device
from terminal import Terminal

device = pod_device()
if not os.path.exists(device.programs + "/limpet"):
    device.close()
    skip("limpet is not built")


def reset(words=""):
    return device.run(f"limpet --config {device.config_file} reset {words}")


def rules():
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


def fill():
    device.create(config_map("settings", mode="fast"))
    device.create(pod("web", container={"ports": [{"containerPort": 80, "hostPort": 8099}],
                                        "volumeMounts": [{"name": "m", "mountPath": "/m"}, {"name": "c", "mountPath": "/c"}]},
                      volumes=[{"name": "m", "emptyDir": {"medium": "Memory"}}, {"name": "c", "configMap": {"name": "settings"}}]),
                  pod("other"))
    device.wait_ready_pod("web")
    device.wait_ready_pod("other")


def check_gone():
    expect_equal(device.container_pids() + device.shim_pids(), [], "processes")
    expect_equal(device.mounts(), [], "mounts")
    expect_equal(device.cgroup_directories(), [], "cgroups")
    expect(not os.path.exists("/sys/class/net/limpet0"), "the bridge")
    expect("limpet" not in rules(), rules())
    for path in (device.run_dir, device.kubeconfig, device.data_dir + "/limpet.db", device.data_dir + "/pki"):
        expect(not os.path.exists(path), path)


@case
def life_of_a_reset():
    fill()
    code, _, err = reset("--yes")
    expect_equal(code, 1)
    expect_match(r"limpetd runs \(pid \d+\): stop it first", err)
    device.kill()
    code, _, err = reset()
    expect_equal(code, 2)
    expect_match("--yes", err)

    # A person who says something else than yes.
    asked = Terminal(device.command(f"limpet --config {device.config_file} reset"), device.environment())
    try:
        for named in (device.cgroup_root, "limpet0", "nft", "Type yes to go on"):
            asked.wait_for(named)
        asked.type("y\n")
        expect_equal(asked.end(), 1)
    finally:
        asked.close()
    expect(os.path.exists(device.data_dir + "/limpet.db"), "nothing was removed")
    expect(len(device.shim_pids()) == 2, "pods run on")

    os.makedirs(device.data_dir + "/images", exist_ok=True)
    for mine in ("/images/mine.tar", "/photo.jpg"):
        with open(device.data_dir + mine, "w") as file:
            file.write("x")
    code, out, err = reset("--yes")
    expect_equal(code, 0, out + err)
    for what in ("containers, and the control groups", "the bridge limpet0", "the nft table limpet", "logs of 2 pods"):
        expect_match("removed: +" + what, out)
    expect_match(r"kept: .*\s.*images,\s+photo.jpg", out)
    check_gone()
    expect(os.path.exists(device.data_dir + "/photo.jpg") and os.path.exists(device.data_dir + "/images/mine.tar"), "kept")
    expect(os.path.exists(device.config_file), "the configuration stays")
    code, out, err = reset("--yes")
    expect_equal(code, 0, out + err)

    # From nothing again, and with --stop while it runs.
    device.start_daemon()
    fill()
    code, out, err = reset("--yes --stop")
    expect_equal(code, 0, out + err)
    check_gone()
    device.process.wait()
    device.process = None


run(device)

"""A disk with bad days for the daemon of one device: what it changes below dataDir fails, or waits, as tests/lib/disk_shim.c
is told.

    disk = BadDisk(device)
    device.launcher = disk.launcher  # for the next starts of the daemon
    disk.say("stall 2000")           # a state of disk_shim.c
    disk.say("ok")
"""
import os
import subprocess

from limpet import SCRATCH

SHIM = os.path.join(SCRATCH, "disk_shim.so")


def _build():
    if not os.path.exists(SHIM):
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", SHIM,
                        os.environ["LIMPET_SOURCE"] + "/tests/lib/disk_shim.c", "-ldl"], check=True)


class BadDisk:
    def __init__(self, device):
        _build()
        self.control = os.path.join(device.home, "disk")
        self.launcher = ["env", f"LD_PRELOAD={SHIM}", f"DISK_SHIM_DIRECTORY={device.data_dir}",
                         f"DISK_SHIM_CONTROL={self.control}"]
        self.say("ok")

    def say(self, state):
        with open(self.control + ".new", "w", encoding="ascii") as file:
            file.write(state)
        os.rename(self.control + ".new", self.control)

"""What a power cut and a start without network leave of a device, in the namespaces of a test."""
import os
import subprocess

from case import eventually

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def other_boot(device):
    """Boot ids differ after a real reboot; here the same file says another one."""
    other = os.path.join(device.home, "boot_id")
    with open("/proc/sys/kernel/random/uuid", encoding="utf-8") as source, open(other, "w", encoding="utf-8") as file:
        file.write(source.read())
    same_boot()
    subprocess.run(["mount", "--bind", other, BOOT_ID], check=True)


def same_boot():
    subprocess.run(["umount", BOOT_ID], check=False, stderr=subprocess.DEVNULL)


def mount_run(path):
    """runDir is a tmpfs, as /run is: a reboot empties it."""
    os.makedirs(path, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "limpet-run", path], check=True)


def reboot(device, run_dir):
    """Every process gone, runtime files, mounts, links and rules gone, no registry. start_daemon() is the boot."""
    def no_cgroups():
        for directory in device.cgroup_directories(below=True):
            os.rmdir(directory)  # an OSError: processes of it are not quite gone yet
        return True

    device.kill()
    device.kill_containers()
    device.registry.stop()
    for mount in reversed(device.mounts()):
        subprocess.run(["umount", "-l", mount], check=True)
    eventually(no_cgroups, 30, "the cgroups of what was killed are empty")
    subprocess.run("ip link delete limpet0; nft flush ruleset", shell=True, check=False, stderr=subprocess.DEVNULL)
    mount_run(run_dir)
    other_boot(device)

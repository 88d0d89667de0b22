#!/usr/bin/env python3
# timeout: 86400
"""What a power cut at any moment leaves on the disk: a writer fills a store on an ext4 of its own while QEMU logs every
write and flush of that disk; then images are made of what each of CRASH_IMAGES (default 60) cuts may leave: all that was
flushed, any part of what was not, writes torn between sectors. Each is mounted and opened as it is, with no repair step,
and must hold every transaction that was acknowledged by then. SEED chooses the moments.

The same images of a store that does not wait for the disk lose transactions, which shows that the rig can fail.
"""
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from block_log import BlockLog
from guest import FILES, Guest, NoDevice
from case import Failure, case, eventually, expect, run

IMAGES = int(os.environ.get("CRASH_IMAGES", "60"))
TRANSACTIONS = max(1000, IMAGES * 2)  # sixteen in a commit: about as many writes and flushes as images, or more
SEED = int(os.environ.get("SEED", time.time()))
DISK_MB = 32
ROOT = os.path.realpath(os.path.join(FILES, "..", "debian13"))  # where the writer was built and can run
CHECKER = "/build-cache/guest/tests/unit/store/store_kill"
print("SEED", SEED)


class Acknowledgements(threading.Thread):
    """Hears the writer, and notes with each line how far the disk's log was then: no later than that, it was said."""

    def __init__(self, path, log):
        super().__init__(daemon=True)
        self.channel = socket.socket(socket.AF_UNIX)
        self.channel.connect(path)
        self.log = log
        self.heard = []  # (length of the log, transaction)

    def run(self):
        rest = b""
        while True:
            try:
                more = self.channel.recv(4096)
            except OSError:
                return
            if not more:
                return
            *lines, rest = (rest + more).split(b"\n")
            for line in lines:
                if line.startswith(b"ack "):
                    self.heard.append((os.path.getsize(self.log), int(line[4:])))

    def before(self, length):
        return max((number for at, number in self.heard if at <= length), default=0)


class Rig:
    def __init__(self, name, environment=""):
        self.environment = environment
        home = os.path.join(os.environ["TEST_TMP"], name)
        os.makedirs(home)
        self.base, self.log = os.path.join(home, "base"), os.path.join(home, "log")
        self.port, self.image = os.path.join(home, "acks"), os.path.join(home, "image")
        self.mounted = os.path.join(ROOT, "mnt")
        disk = os.path.join(home, "data")
        for path in (disk, self.log):
            with open(path, "wb") as file:
                file.truncate(DISK_MB << 20 if path == disk else 0)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", disk], check=True)
        shutil.copyfile(disk, self.base)
        self.guest = Guest(name + "-guest", network=False, init="/usr/local/lib/limpet-guest/bare-init", devices=[
            "-blockdev", f"driver=file,node-name=data-file,filename={disk}",
            "-blockdev", f"driver=file,node-name=log-file,filename={self.log}",
            "-blockdev", "driver=blklogwrites,node-name=logged,file=data-file,log=log-file,log-sector-size=512",
            "-device", "virtio-blk-pci,drive=logged,write-cache=on,addr=0x1e",
            "-chardev", f"socket,id=acks,path={self.port},server=on,wait=off",
            "-device", "virtserialport,chardev=acks,name=acks"])

    def record(self):
        """The load, and the plug. What was acknowledged when."""
        self.guest.start()
        acks = Acknowledgements(self.port, self.log)
        acks.start()
        self.guest.run(f"""
            mkdir -p /mnt && mount -t ext4 /dev/vdb /mnt
            port=$(grep -lx acks /sys/class/virtio-ports/*/name)
            {self.environment} /usr/local/lib/limpet-guest/store_kill /mnt/kill.db >/dev/$(basename $(dirname $port)) 2>/dev/console &
            """)
        eventually(lambda: acks.heard and acks.heard[-1][1] >= TRANSACTIONS, 3600, f"{TRANSACTIONS} transactions")
        self.guest.pull_the_plug()
        acks.join(30)
        return acks

    def look(self):
        """Mounts the image and opens the store in it: the last transaction there, or what is wrong."""
        subprocess.run(["mount", "-o", "loop", self.image, self.mounted], check=True)
        try:
            if not os.path.exists(os.path.join(self.mounted, "kill.db")):
                return 0, ""
            done = subprocess.run(["chroot", ROOT, CHECKER, "/mnt/kill.db", "--check"], check=False, timeout=120,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            words = done.stdout.split()
            if done.returncode != 0 or words[:1] != ["last"]:
                return -1, done.stdout.strip()[-500:]
            return int(words[1]), ""
        finally:
            subprocess.run(["umount", self.mounted], check=True)

    def images(self):
        """Yields (entries of the log at the cut, acknowledged by then, found, what is wrong)."""
        acks = self.record()
        rng = random.Random(SEED)
        log = BlockLog(self.log)
        expect(len(log.entries) > TRANSACTIONS // 4, f"only {len(log.entries)} writes and flushes were logged")
        print(f"{acks.heard[-1][1]} transactions, {len(log.entries)} writes and flushes", flush=True)
        for end in sorted(rng.randrange(1, len(log.entries) + 1) for _ in range(IMAGES)):
            log.crash(self.base, self.image, end, rng)
            found, wrong = self.look()
            yield end, acks.before(log.entries[end - 1].end), found, wrong
        log.close()


@case
def every_image_holds_what_was_acknowledged():
    rig = Rig("full")
    try:
        lowest = 0
        for end, acknowledged, found, wrong in rig.images():
            expect(not wrong, f"after {end} writes: {wrong}")
            expect(found >= acknowledged, f"after {end} writes: {found} transactions, {acknowledged} acknowledged")
            lowest = max(lowest, acknowledged)
        expect(lowest > TRANSACTIONS // 2, f"only {lowest} transactions stood before the last cut")
        print(f"{IMAGES} images, every acknowledged transaction in each", flush=True)
    finally:
        rig.guest.close()


@case
def the_rig_finds_lost_transactions():
    """With synchronous=NORMAL the store answers before the disk has it."""
    rig = Rig("normal", environment="LIMPET_FAILPOINTS=store.synchronous=error")
    try:
        lost = sum(found < acknowledged for _, acknowledged, found, _ in rig.images())
        expect(lost > 0, f"{IMAGES} images of a store that does not wait for the disk, and none lost anything")
        print(f"{lost} of {IMAGES} images lost transactions, as it must be")
    finally:
        rig.guest.close()


if not os.path.isdir(ROOT):
    raise SystemExit("the Debian 13 root of tests/vm/make.sh is not there")
run(NoDevice, at_once=1)

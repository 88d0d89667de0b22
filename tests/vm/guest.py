"""A Debian 13 guest under QEMU's TCG: a small board with systemd and cgroup v2, whose plug can be pulled.

    guest = Guest().start()
    print(guest.run("uname -r"))          a script of bash, as root in the guest; its output, or Failure
    guest.kubectl("get pods")             on the host, through a port of the test's own network namespace
    guest.pull_the_plug(); guest.start()
    run(guest, at_once=1)                 of case.py

tests/run.sh makes the files (tests/vm/make.sh) and says where in LIMPET_VM. A guest's disk is a layer over the one of
all guests, and stays from one start to the next. Everything in the guest takes ten times what it takes elsewhere:
every wait is for an event and its bound is generous.
"""
import base64
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, eventually

FILES = os.environ["LIMPET_VM"]
SCRATCH = os.environ["TEST_TMP"]
SOURCE = os.environ["LIMPET_SOURCE"]
BOOT_SECONDS = 600      # 15 when nothing else runs
SHUTDOWN_SECONDS = 400
API_PORT = 6443     # of the test's network namespace, as in the guest
POD_PORT = 30080    # the host port of configs/examples/hello.yaml
FORWARDS = {port: f"10.0.2.15:{port}" for port in (API_PORT, POD_PORT)}
# no_timer_check: a machine that is busy elsewhere while the kernel looks whether its timer works would make it panic.
CONSOLE = ("console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on systemd.show_status=no no_timer_check "
           "module_blacklist=ata_piix,ata_generic,button,evdev,serio_raw,psmouse,i2c_piix4,qemu_fw_cfg")


class Guest:
    def __init__(self, name="guest", memory_mb=128, network=True, init="/sbin/init", environment="", devices=(),
                 forwards=FORWARDS):
        """`environment`: words NAME=VALUE for the first process, through the kernel's command line. `devices`: further
        words for QEMU. `forwards`: port of the test's network namespace: address and port in the guest's."""
        self.name, self.memory_mb, self.network, self.devices = name, memory_mb, network, list(devices)
        self.forwards = forwards
        self.kernel_line = f"{CONSOLE} init={init} {environment}"
        self.home = os.path.join(SCRATCH, name)
        os.makedirs(self.home, exist_ok=True)
        self.console = os.path.join(self.home, "console")
        self.disk = os.path.join(self.home, "disk")
        self.kubeconfig = os.path.join(self.home, "kubeconfig")
        self.process = self.channel = self.lines = None
        self.boot_id = ""
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
                        os.path.join(FILES, "disk"), self.disk], check=True)

    # ---- the machine ----

    def command(self):
        port = os.path.join(self.home, "port")
        words = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "Westmere", "-smp", "1", "-m", str(self.memory_mb),
                 "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                 "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
                 "-kernel", os.path.join(FILES, "kernel"), "-initrd", os.path.join(FILES, "initrd"),
                 "-append", self.kernel_line,
                 # What the guest has flushed is on the disk, what it has not may be lost: as with a real one.
                 "-drive", f"file={self.disk},format=qcow2,if=virtio,cache=writeback",
                 "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                 "-chardev", f"socket,id=port,path={port},server=on,wait=off",
                 "-device", "virtserialport,chardev=port,name=limpet"]
        if self.network:
            forwards = "".join(f",hostfwd=tcp:127.0.0.1:{port}-{to}" for port, to in self.forwards.items())
            words += ["-netdev", "user,id=net,restrict=on" + forwards, "-device", "virtio-net-pci,netdev=net"]
        return ["nice", "-n", "10"] + words + self.devices

    def start(self):
        """Powers it on and waits until its agent speaks."""
        self.power_on()
        self.wait_boot()
        return self

    def power_on(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        port = os.path.join(self.home, "port")

        def connect():
            if self.process.poll() is not None:
                raise RuntimeError(f"qemu ended: {self.process.stdout.read().decode()}")
            self.channel = socket.socket(socket.AF_UNIX)
            self.channel.connect(port)
            return True

        eventually(connect, 60, "qemu's port can be reached")
        self.lines = b""

    def wait_boot(self):
        """Until an agent of a new boot says hello."""
        while True:
            words = self._line(BOOT_SECONDS).split()
            if words[:1] == ["hello"] and words[1] != self.boot_id:
                self.boot_id = words[1]
                return

    def pull_the_plug(self):
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def power_off(self, how="poweroff"):
        """In good order, by systemd. What it says to that: whom it had to kill, among others."""
        self.run("dmesg -n 7")
        begin = os.path.getsize(self.console)
        self.channel.sendall(self._request(f"systemctl {how}", 60))
        self._ended(SHUTDOWN_SECONDS)
        with open(self.console, encoding="utf-8", errors="replace") as file:
            file.seek(begin)
            return file.read()

    def reboot(self):
        # QEMU ends instead (-no-reboot): its firmware is slow at a warm start.
        words = self.power_off("reboot")
        self.start()
        return words

    def _ended(self, seconds=30):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"the guest is not off within {seconds} s\n{self.log_tail()}") from None
        finally:
            self.channel.close()
            self.process = None

    def close(self):
        if self.process:
            self.pull_the_plug()
        return []

    def log_tail(self, lines=25):
        out = ""
        if self.process:
            try:
                out = "--- the daemon's last lines:\n" + self.run(
                    f"journalctl -u limpetd -n {lines} --no-pager -o short-monotonic", 60)
            except (Failure, OSError) as error:
                out = f"--- the guest does not answer: {error}"
        return out + self.console_tail(lines)

    def console_tail(self, lines=25):
        with open(self.console, encoding="utf-8", errors="replace") as file:
            return "\n--- the console's last lines:\n" + "".join(file.readlines()[-lines:])

    # ---- inside ----

    @staticmethod
    def _request(script, seconds):
        return f"{seconds} {base64.b64encode(script.encode()).decode()}\n".encode()

    def _line(self, seconds):
        deadline = time.monotonic() + seconds
        while b"\n" not in self.lines:
            self.channel.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                more = self.channel.recv(65536)
            except TimeoutError:
                raise Failure(f"no answer of the guest within {seconds} s{self.console_tail()}") from None
            if not more:
                raise Failure("the guest is off")
            self.lines += more
        line, self.lines = self.lines.split(b"\n", 1)
        return line.decode()

    def try_run(self, script, seconds=120):
        """Exit code and output."""
        self.channel.sendall(self._request(script, seconds))
        words = self._line(seconds + 60).split()
        if words[:1] != ["done"]:
            raise Failure(f"the guest's agent says {words}")
        return int(words[1]), base64.b64decode(words[2] if len(words) > 2 else "").decode("utf-8", "replace")

    def run(self, script, seconds=120):
        code, output = self.try_run(script, seconds)
        if code != 0:
            raise Failure(f"{script}: exit code {code}: {output[-2000:]}")
        return output

    def eventually(self, script, seconds=120, what=""):
        """Runs it until it succeeds and says something."""
        return eventually(lambda: self.run(script, seconds), seconds, what or script, every=0.2)

    # ---- from outside ----

    def fetch_kubeconfig(self):
        text = self.run("cat /etc/limpet/admin.kubeconfig")
        with open(self.kubeconfig, "w", encoding="utf-8") as file:
            file.write(text)

    def try_kubectl(self, words, seconds=120, input=None):
        words = ["kubectl"] + (shlex.split(words) if isinstance(words, str) else list(words))
        environment = {**os.environ, "KUBECONFIG": self.kubeconfig, "HOME": self.home, "KUBECACHEDIR": self.home + "/cache"}
        deadline = time.monotonic() + seconds
        while True:
            try:
                done = subprocess.run(words, env=environment, input=input, timeout=seconds, check=False, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace", cwd=SOURCE,
                                      stdin=subprocess.DEVNULL if input is None else None)
            except subprocess.TimeoutExpired:
                raise Failure(f"{shlex.join(words)}: no end within {seconds} s") from None
            # Its ten seconds are short for an emulated processor that shares a busy one, and nothing was done yet.
            if done.stdout or "TLS handshake timeout" not in done.stderr or time.monotonic() > deadline:
                return done.returncode, done.stdout, done.stderr

    def kubectl(self, words, seconds=120, input=None):
        code, out, err = self.try_kubectl(words, seconds, input)
        if code != 0:
            raise Failure(f"kubectl {words}: exit code {code}: {out[-800:]}{err[-1500:]}")
        return out


class NoDevice:
    """For run() of case.py, which closes a device and looks for what it left: rigs that close their own guests."""

    @staticmethod
    def close():
        return []

    @staticmethod
    def log_tail(_lines):
        return ""

#!/usr/bin/env python3
# timeout: 300
# parallel: yes
"""The machine's clock is wrong, jumps by years both ways, starts in 1970: the API stays open to its own admin.

kubectl keeps the host's clock, as a client elsewhere does; what programs on the device itself would make of the
certificates is asked of openssl, as of the device's clock."""
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import SCRATCH, Device, config_map

DAY = 86400
YEAR = 365 * DAY
if not shutil.which("kubectl"):
    skip("no kubectl")
SHIM = os.path.join(SCRATCH, "clock_shim.so")
subprocess.run(["c++", "-shared", "-fPIC", "-O1", "-x", "c++", os.environ["LIMPET_SOURCE"] + "/tests/lib/clock_shim.c",
                "-o", SHIM], check=True)


class Machine(Device):
    """A device with a clock of its own."""

    def __init__(self, name, port):
        super().__init__(name=name, registry=False, listen={"api": {"address": "127.0.0.1", "port": port}})
        self.runs_pods = False
        self.offset_file = os.path.join(self.home, "offset")
        self.fifo = os.path.join(self.home, "clock-set")
        os.mkfifo(self.fifo)
        self.set(0)

    def set(self, offset):
        """The clock is this far off; nobody is told."""
        with open(self.offset_file + ".new", "w", encoding="ascii") as file:
            file.write(str(offset))
        os.replace(self.offset_file + ".new", self.offset_file)
        self.offset = offset

    def jump(self, offset):
        """As settimeofday does it while the daemon runs: those who watch the clock are told."""
        before = self.log_count("the clock was set")
        self.set(offset)
        fifo = os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
        os.write(fifo, b"x")
        os.close(fifo)
        eventually(lambda: self.log_count("the clock was set") > before, 20, "the jump is noticed")

    def boot(self, offset):
        if self.process:
            expect_equal(self.stop(), 0, "stop")
        self.set(offset)
        return self.start_daemon(environment={"LD_PRELOAD": SHIM, "CLOCK_OFFSET_FILE": self.offset_file,
                                              "CLOCK_SET_FIFO": self.fifo})

    def now(self):
        return int(time.time()) + self.offset

    def log_count(self, text):
        with open(self.log_file, encoding="utf-8", errors="replace") as file:
            return file.read().count(text)

    def works(self, what, kubeconfig=None):
        """kubectl with the kubeconfig that is on disk, and openssl for programs that go by the device's clock."""
        config = ["--kubeconfig", kubeconfig] if kubeconfig else []
        eventually(lambda: self.kubectl(config + ["get", "namespace", "default", "-o", "name"]), 20, f"kubectl, {what}", 0.2)
        if not kubeconfig:
            eventually(lambda: self.valid_at(self.now()), 20, f"certificates, {what}", 0.2)

    def valid_at(self, when):
        pki = self.data_dir + "/pki/"
        for name, purpose in (("serving", "sslserver"), ("admin", "sslclient")):
            done = subprocess.run(["openssl", "verify", "-x509_strict", "-attime", str(when), "-purpose", purpose, "-CAfile",
                                   pki + "ca.crt", pki + name + ".crt"], check=False, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                raise Failure(f"at {when}: {done.stdout}")
        return True

    def refused_for(self, kubeconfig, pattern):
        expect_match(pattern, self.refused(["--kubeconfig", kubeconfig, "get", "namespace", "default"]))

    def copy_kubeconfig(self, name):
        target = os.path.join(self.home, name)
        shutil.copy(self.kubeconfig, target)
        return target

    def written_in(self, name):
        """Writes an object; the year that its time says."""
        made = self.api("POST", "/api/v1/namespaces/default/configmaps", config_map(name))
        return int(made["metadata"]["creationTimestamp"][:4])

    def time_moves(self, name):
        """What is written later says so."""
        first = self.api("POST", "/api/v1/namespaces/default/configmaps", config_map(name + "-first"))
        number = iter(range(10000))

        def later():
            made = self.api("POST", "/api/v1/namespaces/default/configmaps", config_map(f"{name}-{next(number)}"))
            return made["metadata"]["creationTimestamp"] > first["metadata"]["creationTimestamp"]

        eventually(later, 30, "time goes on", 0.3)


def this_year():
    return time.gmtime().tm_year


def boot_time_1970():
    return 1000 - int(time.time())


main = Machine("main", 6443)


@case
def jumps_in_every_order():
    main.boot(0)
    main.works("right clock")
    early = main.copy_kubeconfig("early")

    main.boot(20 * YEAR)
    main.works("20 years ahead")
    expect(main.written_in("future") - this_year() >= 19, "not written in the future")
    main.refused_for(early, "Unauthorized|certificate|expired|tls")

    main.boot(0)
    main.works("right again")
    main.works("right again, the first kubeconfig", early)
    expect(main.written_in("present") - this_year() in (0, 1), "the present is written as the future")
    expect_equal(main.log_count("believing the clock"), 1, "told that the clock was ahead")
    main.time_moves("right")

    main.boot(boot_time_1970())
    main.works("1970")
    expect(main.written_in("seventies") >= this_year(), "written in 1970")
    main.time_moves("below")
    main.jump(0)
    main.works("the network told the time")

    main.jump(400 * DAY)
    main.works("400 days ahead while running")
    main.refused_for(early, "Unauthorized|certificate|expired|tls")
    main.jump(0)
    main.works("back while running")
    main.works("back while running, the first kubeconfig", early)
    main.jump(boot_time_1970())
    main.works("1970 while running")
    main.jump(9 * YEAR)
    main.works("9 years ahead")
    main.jump(400 * DAY)
    main.works("forward, back, forward")

    # The same jumps again and again: soon nothing is written any more.
    files = [os.path.join(main.data_dir, "pki", f) for f in ("ca.crt", "serving.crt", "admin.crt")] + [main.kubeconfig]
    before = []
    for number in range(2):
        for offset in (0, 400 * DAY, boot_time_1970(), 20 * YEAR, 0):
            main.jump(offset)
            main.works(f"round {number}, {offset} s ahead")
        before.append([os.stat(f).st_ino for f in files])
    expect_equal(before[1], before[0], "certificates made anew")
    main.works("after all, the first kubeconfig", early)


# Where the kernel does not tell: the reload that a person would try first.
@case
def reload_looks_at_the_clock():
    device = Machine("reloaded", 6444)
    try:
        device.boot(0)
        device.works("right clock")
        device.set(800 * DAY)
        device.process.send_signal(signal.SIGHUP)
        device.works("after SIGHUP")
        expect(device.log_count("serving certificate written") > 1, "no new certificate")
    finally:
        leaks = device.close()
    expect_equal(leaks, [], "left behind")


@case
def first_start_in_1970():
    device = Machine("seventies", 6445)
    try:
        device.boot(boot_time_1970())
        device.works("1970 at first start")
        expect(device.written_in("a") >= this_year() - 1, "written before the build")
        device.time_moves("first")
        device.jump(0)
        device.works("the network told the time")
        expect(abs(device.written_in("b") - this_year()) <= 1, "not the right time")
    finally:
        leaks = device.close()
    expect_equal(leaks, [], "left behind")


run(main, at_once=1)

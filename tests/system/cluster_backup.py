#!/usr/bin/env python3
# timeout: 240
"""limpet backup and restore: consistent under writes, sealed, nothing half; scheduled ones with their retention."""
import base64
import glob
import hashlib
import json
import os
import shutil
import sys
import threading
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import Device, config_map
from terminal import Terminal

MAPS = "/api/v1/namespaces/default/configmaps"
GAP = 1_000_000_000

old = Device("old", apart=True, registry=False)
new = Device("new", apart=True, registry=False)
clock = Device("clock", apart=True, registry=False)
if not os.path.exists(old.programs + "/limpet"):
    for device in (old, new, clock):
        device.close()
    skip("limpet is not built")
old.start()
PASSPHRASE = old.home + "/passphrase"
with open(PASSPHRASE, "w", encoding="utf-8") as phrase:
    phrase.write("tide and time wait\n")


def limpet(device, words, code=0):
    command = f"limpet --config {device.config_file} {words}"
    got, out, err = device.run(command)
    expect_equal(got, code, f"limpet {words}: {out}{err}")
    # Messages are folded to the width.
    return " ".join((out + err).split())


def name_of(number):
    """In no order: what is made later may stand before in the store."""
    return "c-" + hashlib.sha256(str(number).encode()).hexdigest()[:12]


class Chain(threading.Thread):
    """Makes one object after the other. A state of one moment holds all up to one, and none behind it."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.device, self.made, self.going = device, 0, True

    def run(self):
        while self.going:
            self.device.api("POST", MAPS, config_map(name_of(self.made), n=str(self.made), pad="x" * 2000))
            self.made += 1


def authority(device):
    with open(device.kubeconfig, encoding="utf-8") as file:
        return next(line for line in file if "certificate-authority-data" in line)


def check_restored(chain_at_begin, chain_at_end):
    """What `new` holds now is `old` at one moment between the two."""
    got = new.api("GET", MAPS)
    numbers = sorted(int(item["data"]["n"]) for item in got["items"] if item["metadata"]["name"].startswith("c-"))
    expect_equal(numbers, list(range(len(numbers))), "one moment")
    expect(chain_at_begin <= len(numbers) <= chain_at_end, f"{chain_at_begin} <= {len(numbers)} <= {chain_at_end}")
    return got


@case
def life_of_a_backup():
    old.api("POST", "/api/v1/namespaces/default/secrets",
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "hunter2hunter2"}})
    for number in range(60):
        old.api("POST", MAPS, config_map(f"fixed-{number}", v="1" * 3000))
    chain = Chain(old)
    chain.start()
    eventually(lambda: chain.made > 100, 30, "writes")
    target = old.home + "/site.backup"
    begin = chain.made
    said = limpet(old, f"backup {target} --passphrase-file {PASSPHRASE}")
    end = chain.made + 1
    eventually(lambda: chain.made > end + 20, 30, "writes go on")
    expect_match(r"site.backup: revision \d+, ", said)
    expect_equal(os.stat(target).st_mode & 0o7777, 0o600, "mode")
    with open(target, "rb") as file:
        sealed = file.read()
    expect(sealed.startswith(b"limpet backup\n"), "its beginning")
    for plain in (b"hunter2", base64.b64encode(b"hunter2hunter2"), b"PRIVATE KEY", b"fixed-"):
        expect(plain not in sealed, f"{plain} stands in it")
    expect_equal([f for f in os.listdir(old.home) if "tmp-" in f], [], "left over")

    # What is there stays, unless it is to go.
    expect_match("--force replaces it", limpet(old, f"backup {target} --passphrase-file {PASSPHRASE}", 1))
    limpet(old, f"backup {target}.two --passphrase-file {PASSPHRASE}")
    limpet(old, f"backup {target}.two --force --passphrase-file {PASSPHRASE}")
    expect_match("--passphrase-file", limpet(old, f"backup {target}.three", 2))
    expect_match("404|no such|No such", limpet(old, f"backup {target}.three --passphrase-file /nowhere", 4))
    chain.going = False
    chain.join()
    before = old.api("GET", MAPS)["metadata"]["resourceVersion"]

    # What cannot be restored leaves nothing.
    def altered(name, change):
        path = old.home + "/" + name
        with open(path, "wb") as file:
            file.write(change(sealed))
        return path

    wrong = old.home + "/wrong"
    with open(wrong, "w", encoding="utf-8") as file:
        file.write("tide and time wait not")
    middle = len(sealed) // 2
    for path, phrase_file, message in (
            (target, wrong, "the passphrase is wrong"),
            (altered("cut", lambda s: s[:-1000]), PASSPHRASE, "cut"),
            (altered("short", lambda s: s[:10]), PASSPHRASE, "no backup of limpet"),
            (altered("bent", lambda s: s[:middle] + bytes([s[middle] ^ 1]) + s[middle + 1:]), PASSPHRASE, "altered"),
            (altered("newer", lambda s: s[:14] + b"\x02" + s[15:]), PASSPHRASE, "newer limpet"),
            (altered("other", lambda s: b"something else"), PASSPHRASE, "no backup of limpet")):
        expect_match(message, limpet(new, f"restore {path} --passphrase-file {phrase_file}", 1))
        there = os.listdir(new.data_dir) if os.path.exists(new.data_dir) else []
        expect(not [f for f in there if f != "lock"], f"{message}: {there}")
    expect_match("passphrase-file", limpet(new, f"restore {target}", 2))
    limpet(new, f"restore {target}.none --passphrase-file {PASSPHRASE}", 4)
    expect_match("in use by pid", limpet(old, f"restore {target} --passphrase-file {PASSPHRASE}", 1))

    # A power cut in the middle of the last step: the daemon ends it.
    code, out, err = new.run(f"env LIMPET_FAILPOINTS=backup.restore.move=kill@2 limpet --config {new.config_file} "
                             f"restore {target} --passphrase-file {PASSPHRASE}")
    if code == 0:
        raise Failure(f"was not cut: {out}{err}")
    # A device that was set up to join some cluster has one now.
    new.configure(join={"url": "https://127.0.0.1:1", "token": "limpet1." + "0" * 64 + ".k2p9x0.hd73k2nvb5q8s0aw"})
    new.start()
    got = check_restored(begin, end)
    expect(int(got["metadata"]["resourceVersion"]) > GAP, got["metadata"])
    expect_equal(authority(new), authority(old), "the authority")
    secret = new.api("GET", "/api/v1/namespaces/default/secrets/s")
    expect_equal(base64.b64decode(secret["data"]["password"]), b"hunter2hunter2")
    names = {item["metadata"]["name"]: item for item in got["items"]}
    expect(all(f"fixed-{n}" in names for n in range(60)), "what was there before")
    for item in old.api("GET", MAPS)["items"]:
        if item["metadata"]["name"] in names:
            expect_equal(names[item["metadata"]["name"]], item)
    expect_match("fixed-7 ", new.kubectl("get configmaps"))
    new.kubectl("create configmap afterwards --from-literal=a=b")
    expect_equal(new.watch_code(MAPS, before), 410, "a watch of before")
    expect_equal(new.watch_code(MAPS, got["metadata"]["resourceVersion"]), None, "a watch of now")

    # And once more it is refused: there is a store now.
    new.stop()
    expect_match("holds a store", limpet(new, f"restore {target} --passphrase-file {PASSPHRASE}", 1))
    new.start_daemon()
    expect("afterwards" in new.names(MAPS), "it went on")


@case
def for_a_recipient():
    key = old.home + "/office.key"
    limpet(old, f"backup keygen {key}")
    expect_equal(os.stat(key).st_mode & 0o7777, 0o600, "mode")
    expect_match("never replaced", limpet(old, f"backup keygen {key}", 1))
    limpet(old, f"backup keygen {old.home}/other.key")
    target = old.home + "/sealed.backup"
    expect_match("not both", limpet(old, f"backup {target} --recipient {key}.pub --passphrase-file {PASSPHRASE}", 2))
    expect_match("no public key", limpet(old, f"backup {target} --recipient {PASSPHRASE}", 1))
    limpet(old, f"backup {target} --recipient {key}.pub")
    place = new.home + "/elsewhere"
    expect_match("--key FILE is wanted", limpet(new, f"restore {target} --data-dir {place}", 2))
    expect_match("was made for the recipient", limpet(new, f"restore {target} --data-dir {place} --key {old.home}/other.key", 1))
    expect_match("without .pub", limpet(new, f"restore {target} --data-dir {place} --key {key}.pub", 1))
    expect(not os.path.exists(place), "nothing is made for what does not open")
    said = limpet(new, f"restore {target} --data-dir {place} --key {key} --new-cluster-id")
    expect_match(r"\(new\)", said)
    expect_equal(sorted(os.listdir(place + "/pki")), ["ca.crt", "ca.key", "sa.key"])
    again = limpet(new, f"restore {target} --data-dir {place}2 --key {key}")
    expect(said.split("cluster ")[1].split()[0] != again.split("cluster ")[1].split()[0], "another cluster")

    # A disk without room is told what is needed, and nothing is left on it.
    small = old.home + "/small"
    os.makedirs(small)
    code, _, err = old.run(f"mount -t tmpfs -o size=8k none {small}")
    expect_equal(code, 0, err)
    said = old.run(f"limpet --config {old.config_file} backup {small}/a.backup --recipient {key}.pub")
    expect_equal(said[0], 1)
    expect_match(r"bytes free, the backup needs about \d+", " ".join(said[2].split()))
    expect_equal(old.run(f"ls -A {small}")[1], "")
    old.run(f"umount {small}")


@case
def asked_at_a_terminal():
    target = old.home + "/typed.backup"

    def ask(words, *answers):
        """Exit status, and what the terminal showed."""
        terminal = Terminal(old.command(f"limpet --config {old.config_file} {words}"), old.environment())
        try:
            for prompt, answer in answers:
                terminal.wait_for(prompt)
                terminal.type(answer)
            return terminal.end(), terminal.text
        finally:
            terminal.close()

    code, shown = ask(f"backup {target}", ("Passphrase", "four words at sea\r"), ("Once more", "four words at see\r"))
    expect_equal(code, 1)
    expect_match("not the same", shown)
    expect_equal(ask(f"backup {target}", ("Passphrase", "short\r"))[0], 2)
    expect_equal(ask(f"backup {target}", ("Passphrase", "\x03"))[0], 1)
    expect(not os.path.exists(target), "nothing was made")
    code, shown = ask(f"backup {target}", ("Passphrase", "four words at see\x7fa\r"), ("Once more", "x\x15four words at sea\r"))
    expect_equal(code, 0, shown)
    expect("words" not in shown, "the passphrase is not shown")
    code, shown = ask(f"restore {target} --data-dir {new.home}/typed", ("Passphrase", "four words at sea\r"))
    expect_equal(code, 0, shown)


@case
def by_the_clock():
    medium = clock.home + "/medium"
    key = clock.home + "/k"
    limpet(clock, f"backup keygen {key}")
    clock.configure(backup={"directory": medium + "/backups", "every": "1s", "keep": 2, "recipientFile": key + ".pub"})
    clock.start()

    def files():
        return sorted(glob.glob(medium + "/backups/limpet-*.backup"))

    def status():
        return json.loads(clock.api("GET", "/limpet/v1/status", raw=True))["backup"]

    eventually(lambda: "is its medium mounted?" in status()["problem"], 20, "the missing medium is told")
    expect_match("is its medium mounted", limpet(clock, "status"))
    doctor = clock.run(f"limpet --config {clock.config_file} doctor")[1]
    expect_match("The directory for backups, .* is not there", " ".join(doctor.split()))
    expect(not os.path.exists(medium), "it is never made")
    os.makedirs(medium + "/backups")
    with open(medium + "/backups/limpet-holiday.backup", "w", encoding="utf-8") as file:
        file.write("somebody's")
    with open(medium + "/backups/photo.jpg", "w", encoding="utf-8") as file:
        file.write("somebody's")
    eventually(lambda: len(files()) >= 2, 20, "the first backup")
    with open(clock.log_file, encoding="utf-8") as file:
        expect_equal(file.read().count("no scheduled backup could be made"), 1, "said once")
    eventually(lambda: status()["problem"] == "" and "last" in status(), 10, "the status")
    expect_match("limpet-", status()["last"]["file"])

    # Nothing changes, nothing is written.
    def revision():
        return int(clock.api("GET", MAPS)["metadata"]["resourceVersion"])

    def undisturbed():
        """The files before and after a time in which nothing changed."""
        at, before = revision(), files()
        if status()["last"]["revision"] != at:
            return None
        time.sleep(3.5)
        return (before, files()) if revision() == at else None

    expect_equal(*eventually(undisturbed, 60, "a time in which nothing changes"), "an idle device")

    # Old ones go, what is not ours stays.
    for number in range(4):
        made = int(clock.api("POST", MAPS, config_map(f"m{number}", v="1"))["metadata"]["resourceVersion"])
        eventually(lambda: status()["last"]["revision"] >= made, 20, "a backup of it")
    expect_equal(len([f for f in files() if "holiday" not in f]), 2, "kept")
    expect(os.path.exists(medium + "/backups/limpet-holiday.backup") and os.path.exists(medium + "/backups/photo.jpg"), "others' files")
    for path in files():
        expect("holiday" in path or os.stat(path).st_mode & 0o7777 == 0o600, path)

    # The medium goes and comes; no backup is made beneath its place.
    shutil.move(medium, clock.home + "/taken")
    clock.api("POST", MAPS, config_map("late", v="1"))
    eventually(lambda: status()["problem"], 20, "the medium is missed")
    expect(not os.path.exists(medium), "it is never made")
    shutil.move(clock.home + "/taken", medium)
    eventually(lambda: status()["problem"] == "" and status()["last"]["revision"] >= revision(), 20, "it goes on")
    clock.stop()
    newest = [f for f in files() if "holiday" not in f][-1]
    place = clock.home + "/elsewhere"
    limpet(clock, f"restore {newest} --data-dir {place} --key {key}")


def close_others():
    for device in (new, clock):
        leaks = device.close()
        if leaks:
            raise Failure("\n".join(leaks))


run(old, at_once=1, last=[close_others])

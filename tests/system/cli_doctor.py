#!/usr/bin/env python3
# timeout: 120
"""limpet doctor on a real device: in order, without its daemon, with a damaged store, with a wrong configuration."""
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, expect, expect_equal, expect_match, run, skip
from limpet import pod, pod_device

device = pod_device()
if not os.path.exists(device.programs + "/limpet"):
    device.close()
    skip("limpet is not built")
device.create(pod("web"))
device.wait_ready_pod("web")


def doctor(words=""):
    """Exit code and findings by check."""
    start = time.monotonic()
    code, out, err = device.run(f"limpet --config {device.config_file} doctor -o json {words}")
    expect(time.monotonic() - start < 8, "within seconds")
    findings = {}
    for finding in json.loads(out)["findings"]:
        findings.setdefault(finding["check"], []).append(finding)
    return code, findings


def level(findings, check):
    return findings[check][0]["level"]


@case
def examined():
    """In one order, since the daemon comes and goes."""
    code, findings = doctor("--registry 127.0.0.1:5000")
    for check in ("limpetd", "certificates", "nft", "registries"):
        expect_equal(level(findings, check), "ok", f"{check}: {findings[check]}")
    expect_equal(level(findings, "store"), "skipped")
    expect_match("1 container runs", findings["limpetd"][0]["text"])
    expect(level(findings, "runtime") in ("ok", "warning"), str(findings["runtime"]))
    code, findings = doctor("--registry 127.0.0.1:1")
    expect_equal((code, level(findings, "registries")), (1, "problem"))

    # limpetd itself: it answers with a certificate that no authority of the system has signed.
    # On loopback it would be let off.
    own = re.search(r"inet ([0-9.]+)/", device.run("ip -4 address show limpet0")[1]).group(1)
    port = device.kubectl("config view -o jsonpath={.clusters[0].cluster.server}").rsplit(":", 1)[1]
    code, findings = doctor(f"--registry {own}:{port}")
    expect_equal((code, level(findings, "registries")), (1, "problem"), str(findings["registries"]))
    expect_match("is not trusted: .*certificate of", findings["registries"][0]["text"])

    # Another user may know neither; nobody is told to start what runs.
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        shutil.copy(device.programs + "/limpet", place + "/limpet")
        shutil.copy(device.config_file, place + "/limpetd.yaml")
        os.chmod(place + "/limpet", 0o755)
        os.chmod(place + "/limpetd.yaml", 0o644)
        other = f"setpriv --reuid 65534 --regid 65534 --clear-groups {place}/limpet --config {place}/limpetd.yaml"
        code, out, err = device.run(f"{other} doctor -o json")
        findings = {f["check"]: f for f in json.loads(out)["findings"]}
        expect_match("Only root or a member of the group limpet may tell whether limpetd runs", findings["limpetd"]["text"])
        expect_equal((findings["limpetd"]["level"], findings["store"]["level"]), ("skipped", "skipped"), out)
        code, out, err = device.run(f"{other} support-bundle {place}/no.tar.gz")
        expect_equal(code, 1)
        expect_match("this needs root", err)

    device.process.send_signal(signal.SIGSTOP)
    try:
        code, findings = doctor()
        expect_equal((code, level(findings, "limpetd")), (1, "problem"))
        expect_match(rf"limpetd \(pid {device.process.pid}\) holds .* but does not answer", findings["limpetd"][0]["text"])
    finally:
        device.process.send_signal(signal.SIGCONT)

    device.kill()
    code, findings = doctor()
    expect_equal((code, level(findings, "limpetd")), (1, "problem"))
    expect_match("1 container runs on without limpetd", findings["limpetd"][1]["text"])
    expect_match(r"The store is whole: \d+ rows, revision \d+; limpetd was not stopped cleanly", findings["store"][0]["text"])
    text = device.run(f"limpet --config {device.config_file} doctor")[1]
    expect(all(len(line) <= 80 for line in text.splitlines()), text)
    expect_match(r"^problem  limpetd: +limpetd does not run", text)

    device.start_daemon()
    device.stop()
    path = device.data_dir + "/limpet.db"
    with open(path, "rb") as file:
        good = file.read()
    at = good.index(b'"name":"web"')
    with open(path, "wb") as file:
        file.write(good[:at] + b'"name":"wab"' + good[at + 12:])
    code, findings = doctor()
    expect_equal(level(findings, "store"), "problem", str(findings["store"]))
    expect_match(re.escape(path), findings["store"][0]["text"])
    expect_match("The store is damaged", findings["store"][0]["text"])
    expect_equal([name for name in os.listdir(device.data_dir) if name.startswith("limpet-check")], [])
    with open(path, "wb") as file:
        file.write(good)
    expect_equal(level(doctor()[1], "store"), "ok")
    device.start_daemon()

    wrong = os.path.join(device.home, "wrong.yaml")
    with open(wrong, "w") as file:
        file.write("dataDri: /x\n")
    code, out, _ = device.run(f"limpet --config {wrong} doctor")
    expect_equal(code, 1)
    expect_match(r"^problem  configuration: The configuration is wrong:\s+\S*wrong.yaml:1:1: unknown", out)


run(device)

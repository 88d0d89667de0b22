#!/usr/bin/env python3
# timeout: 200
"""kubectl exec, attach, run -it, cp: exit codes, input, terminals and their size."""
import hashlib
import os
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run
from limpet import IMAGE, kubectl_at_least, pod, pod_device
from terminal import Terminal

device = pod_device()
kubectl, refused = device.kubectl, device.refused
two = pod("target", "exec sleep 100000")
two["spec"]["containers"].append({**two["spec"]["containers"][0], "name": "other", "env": [{"name": "WHO", "value": "other"}]})
device.create(two, pod("reads", "echo ready; while read line; do echo got $line; done; echo end of input", restartPolicy="Never",
                       container={"stdin": True, "stdinOnce": True}),
              pod("speaks", "while true; do echo hello; sleep 0.2; done"))
device.wait_ready_pod("target")


def terminal(words, **size):
    return Terminal(device.command("kubectl " + words), device.environment(), **size)


@case
def output_and_exit_code():
    code, out, err = device.run("kubectl exec target -c main -- sh -c 'echo out; echo err >&2; exit 42'")
    expect_equal((code, out), (42, "out\n"))
    expect_match("^err$", err)
    expect_match("exit code 42", err)
    expect_equal(kubectl("exec target -c other -- sh -c 'echo $WHO'"), "other\n")
    told = 'Defaulted container "main" out of: main, other' if kubectl_at_least("1.22") else "Defaulting container name to main"
    expect_match(told, device.run("kubectl exec target -- true")[2])


@case
def refusals():
    expect_match("container not found|container absent is not valid", refused("exec target -c absent -- true"))
    expect_match("NotFound|not found", refused("exec absent -- true"))
    code, _, err = device.run("kubectl exec target -c main -- /no/such/program")
    expect(code in (126, 127, 1), f"exit code {code}")
    expect_match("(?i)no such file|not found", err)


@case
def input():
    expect_equal(kubectl("exec -i target -c main -- wc -c", "x" * 3_000_000), "3000000\n")
    data = "".join(f"{n}\n" for n in range(100_000))
    expect_equal(kubectl("exec -i target -c main -- cat", data), data)
    expect_equal(kubectl("exec -i target -c main -- sh -c 'read a; echo [$a]'", "first\nsecond\n"), "[first]\n")


@case
def much_output():
    out = kubectl("exec target -c main -- sh -c 'head -c 20000000 /dev/zero | tr \"\\0\" y'")
    expect_equal(len(out), 20_000_000)


@case
def a_reader_that_is_slow():
    """Nothing of the end is lost while the client still waits for who reads its output."""
    script = "kubectl exec target -c main -- sh -c 'head -c 20000000 /dev/zero' | (sleep 3; wc -c)"
    expect_equal(device.run(["sh", "-c", script])[1].strip(), "20000000")


@case
def on_a_terminal():
    shell = terminal("exec -it target -c main -- sh", rows=33, columns=99)
    try:
        shell.type("stty size; tty; echo term $TERM\n")
        shell.wait_for("33 99")
        shell.wait_for("/dev/pts/")
        shell.resize(44, 111)
        shell.type("until [ \"$(stty size)\" = '44 111' ]; do sleep 0.1; done; echo re'sized'\n")
        shell.wait_for("resized", 60)
        shell.type("sleep 100\n")
        eventually(lambda: "sleep 100\n" in kubectl("exec target -c main -- ps -o args"), 60, "it sleeps", every=0.3)
        shell.type("\x03")  # Ctrl-C goes to what runs inside
        shell.type("echo 'still' here\n")
        shell.wait_for("still here")
        shell.type("exit 5\n")
        expect_equal(shell.end(), 5)
    finally:
        shell.close()


@case
def nothing_is_left_of_an_exec():
    process = device.popen("kubectl exec target -c other -- sleep 31337")
    eventually(lambda: "sleep 31337" in kubectl("exec target -c other -- ps"), 60, "it runs", every=0.3)
    process.kill()
    process.wait()
    eventually(lambda: "sleep 31337" not in kubectl("exec target -c other -- ps"), 60, "its process ends with the client", every=0.5)


@case
def attach():
    device.wait_ready_pod("speaks")
    process = device.popen("kubectl attach speaks")
    try:
        eventually(lambda: process.stdout.readline() == "hello\n", 60, "output of the container")
    finally:
        process.kill()
        process.wait()


@case
def attach_with_input():
    device.wait_ready_pod("reads")
    out = device.run("kubectl attach -i reads", "one\ntwo\n")[1]
    expect_match("got one\ngot two\n", out)
    device.wait_status("reads", "Completed")
    expect_equal(kubectl("logs reads"), "ready\ngot one\ngot two\nend of input\n")


@case
def run_and_remove():
    shell = terminal(f"run once -it --rm --restart=Never --image={IMAGE} --command -- sh -c 'read x; echo read $x; exit 3'")
    try:
        shell.wait_for("try pressing enter", 40)
        shell.type("words\n")
        shell.wait_for("read words")
        expect_equal(shell.end(30), 3)
    finally:
        shell.close()
    device.wait_gone("once")


@case
def run_with_piped_input():
    code, out, err = device.run(f"kubectl run piped -i --rm --restart=Never --image={IMAGE} --command -- cat", "through a pipe\n", 40)
    expect_equal(code, 0, err)
    expect_match("through a pipe", out)


@case
def copying():
    """kubectl cp is tar through exec."""
    source = os.path.join(device.home, "copied")
    with open(source, "wb") as file:
        file.write(os.urandom(1_000_000))
    kubectl(f"cp -c main {source} target:/tmp/copied", timeout=30)
    with open(source, "rb") as file:
        wanted = hashlib.sha256(file.read()).hexdigest()
    expect_match(wanted, kubectl("exec target -c main -- sha256sum /tmp/copied"))
    kubectl(f"cp -c main target:/tmp/copied {source}.back", timeout=30)
    with open(source + ".back", "rb") as file:
        expect_equal(hashlib.sha256(file.read()).hexdigest(), wanted)


run(device)

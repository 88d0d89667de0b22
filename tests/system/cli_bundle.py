#!/usr/bin/env python3
# timeout: 120
"""limpet support-bundle: what is in it, and that no planted secret is, in any form, with limpetd and without it."""
import base64
import json
import os
import sys
import tarfile

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, expect, expect_equal, expect_match, run, skip
from limpet import pod, pod_device, secret

SECRET, URL, REGISTRY, PLAIN, SHOUTED = ("canary-%s-value-7731" % word for word in ("secret", "url", "registry", "plain", "shouted"))
auth_file = os.path.join(os.environ["TEST_TMP"], "auth.json")
with open(auth_file, "w") as file:
    json.dump({"auths": {"registry.invalid": {"auth": base64.b64encode(f"bob:{REGISTRY}".encode()).decode()}}}, file)

device = pod_device(**{"proxy": {"https": f"http://bob:{URL}@127.0.0.1:9", "noProxy": ["127.0.0.1"]},
                       "registries": {"authFile": auth_file, "insecure": ["127.0.0.1:5000"]}})
if not os.path.exists(device.programs + "/limpet"):
    device.close()
    skip("limpet is not built")
device.create(secret("keys", password=SECRET))
device.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}})
token = device.kubectl("create token robot").strip()
env = [{"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
       {"name": "DB_PASSWORD", "value": PLAIN}, {"name": "MODE", "value": "fast"}, {"name": "SERVICE_JWT", "value": token},
       {"name": "COPIED", "value": SECRET}]
# A program that tells its secret where it ends: in the status of the pod and in an event.
device.apply(pod("web", container={"env": env}),
             pod("shouts", f"echo --api-token={SHOUTED} and {SECRET} >/dev/termination-log; exit 1", restartPolicy="Never"),
             pod("wrong", container={"command": [f"/bin/{SECRET}"]}))
device.wait_ready_pod("web")
device.wait_status("shouts", "Error")


def unpacked(said=""):
    path = os.path.join(device.home, "bundle.tar.gz")
    code, out, err = device.run(f"limpet --config {device.config_file} support-bundle {path}")
    expect_equal((code, out), (0, path + "\n"), err)
    expect(said in " ".join(err.split()), err)
    expect_equal(os.stat(path).st_mode & 0o777, 0o600)
    with tarfile.open(path) as tar:
        files = {m.name.removeprefix("limpet-support/"): tar.extractfile(m).read() for m in tar.getmembers()}
    expect(sum(map(len, files.values())) < 16 << 20, "bounded")
    return files


def check_no_secret(files):
    key = open(device.data_dir + "/pki/ca.key").read().splitlines()[1]
    planted = {"secret": SECRET, "url": URL, "registry": REGISTRY, "plain variable": PLAIN, "token": token,
               "in a message": SHOUTED, "private key": key}
    for what, value in planted.items():
        for form in (value, base64.b64encode(value.encode()).decode().rstrip("=")):
            for name, data in files.items():
                expect(form.encode() not in data, f"{what} stands in {name}")
    for name, data in files.items():
        expect(b"PRIVATE KEY" not in data, f"a private key in {name}")


@case
def complete_and_clean():
    """With limpetd, then without it: one case, since it comes and goes."""
    files = unpacked()
    for name in ("README.txt", "version.json", "status.json", "doctor.json", "limpetd.yaml", "nodes.json", "pods.json",
                 "events.json", "metrics.txt", "network.txt", "disk.txt", "cgroups.txt"):
        expect(len(files.get(name, b"")) > 10, f"{name} of {sorted(files)}: {files['README.txt'].decode()}")
    check_no_secret(files)
    pods = {p["metadata"]["name"]: p for p in json.loads(files["pods.json"])["items"]}
    values = {e["name"]: e.get("value") for e in pods["web"]["spec"]["containers"][0]["env"]}
    expect_equal(values["MODE"], "fast")
    expect_equal(values["DB_PASSWORD"], "[removed]")
    expect_match(r"table ip limpet", files["network.txt"].decode())
    expect_match(r"/pod[0-9a-f-]{36}", files["cgroups.txt"].decode())
    # It is really taken out of what is there: the API itself has it.
    expect(SECRET in device.api("GET", "/api/v1/pods", raw=True), "the canary is planted")

    device.kill()
    try:
        files = unpacked()
        check_no_secret(files)
        expect_match("limpetd does not run", files["doctor.json"].decode())
        missing = files["README.txt"].decode().split("could not be had")[1]
        for name in ("version.json", "status.json", "images.json", "nodes.json", "pods.json", "events.json", "deployments.json",
                     "replicasets.json", "metrics.txt", "limpetd.log"):
            expect(name in missing or name in files, f"{name} in {missing}")
        expect("pods.json" in missing, missing)
        expect("are known" not in files["README.txt"].decode(), "all secrets are known")

        # Known from the store alone: nothing about the place where it stands looks like a secret.
        with open(device.config_file, "a") as file:
            file.write(f"# the note says {SECRET} here\n")
        files = unpacked()
        expect_match(r"# the note says \[removed\] here", files["limpetd.yaml"].decode())

        path = device.data_dir + "/limpet.db"
        os.rename(path, path + ".away")
        os.mkdir(path)
        try:
            files = unpacked("not all secrets of this device are known")
            expect_match("Not all secrets of this device are known", files["README.txt"].decode())
            for name in ("limpetd.log", "limpetd-file.log", "pods.json"):
                expect(name not in files, f"{name} may quote secrets")
        finally:
            os.rmdir(path)
            os.rename(path + ".away", path)
    finally:
        device.start_daemon()


run(device)

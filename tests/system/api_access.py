#!/usr/bin/env python3
# parallel: yes
"""Who gets in: nobody without an identity, tokens of service accounts with little right, the socket by its file mode."""
import json
import os
import shutil
import stat
import sys

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import Device, kubectl_at_least

for program in ("curl", "kubectl", "openssl"):
    if not shutil.which(program):
        skip(f"no {program}")
device = Device(registry=False).start()
kubectl = device.kubectl


def curl(path, *options):
    code, out, err = device.run(["curl", "-sk", "--max-time", "10", *options, "https://127.0.0.1:6443" + path])
    expect_equal(code, 0, f"curl {path}: {err}")
    return json.loads(out) if out.startswith("{") else out


def token_of(account):
    if kubectl_at_least("1.24"):
        return kubectl(f"create token {account} --duration=10m").strip()
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    return device.api("POST", f"/api/v1/namespaces/default/serviceaccounts/{account}/token", body)["status"]["token"]


@case
def anonymous():
    for path in ("/api", "/api/v1/namespaces", "/version", "/metrics", "/openapi/v3"):
        expect_equal(curl(path).get("code"), 401, path)
    for path in ("/livez", "/readyz", "/healthz"):
        expect_equal(curl(path), "ok", path)
    expect_equal(curl("/api/v1/namespaces", "-H", "Authorization: Bearer nonsense").get("code"), 401)


@case
def token_of_a_service_account():
    token = token_of("default")
    bearer = ["-H", "Authorization: Bearer " + token]
    expect_equal(curl("/api/v1/namespaces/default/secrets", *bearer).get("reason"), "Forbidden")
    said = curl("/api/v1/namespaces/default/secrets", *bearer)["message"]
    expect_match('secrets is forbidden: User "system:serviceaccount:default:default" cannot list resource "secrets"', said)
    expect_equal(curl("/api/v1", *bearer).get("kind"), "APIResourceList")
    if kubectl_at_least("1.27"):
        who = device.run(["kubectl", "--token", token, "--kubeconfig", "/dev/null", "--server", "https://127.0.0.1:6443",
                          "--insecure-skip-tls-verify", "auth", "whoami"])
        expect_match("system:serviceaccount:default:default", who[1] + who[2])
    # One signature bit more and it is worth nothing.
    broken = token[:-6] + ("A" if token[-6] != "A" else "B") + token[-5:]
    expect_equal(curl("/api/v1", "-H", "Authorization: Bearer " + broken).get("code"), 401)


@case
def token_goes_with_its_account():
    kubectl("create serviceaccount short")
    bearer = ["-H", "Authorization: Bearer " + token_of("short")]
    expect_equal(curl("/api/v1", *bearer).get("kind"), "APIResourceList")
    kubectl("delete serviceaccount short")
    eventually(lambda: curl("/api/v1", *bearer).get("code") == 401, 60, "the token of a deleted account is refused")


@case
def a_foreign_authority():
    """A certificate that another authority made for system:masters opens nothing."""
    home = os.path.join(device.home, "foreign")
    os.makedirs(home)
    made = device.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
                       "-subj", "/O=system:masters/CN=admin", "-keyout", home + "/key", "-out", home + "/crt"])
    expect_equal(made[0], 0, made[2])
    code, out, _ = device.run(["curl", "-sk", "--cert", home + "/crt", "--key", home + "/key", "https://127.0.0.1:6443/api"])
    expect(code != 0 or '"code":401' in out.replace(" ", ""), f"let in: {out[:300]}")


@case
def the_socket():
    mode = os.stat(device.run_dir + "/limpet.sock").st_mode
    expect(stat.S_ISSOCK(mode) and not mode & 0o007, f"mode {mode:o}")
    expect_equal(os.stat(device.kubeconfig).st_mode & 0o777, 0o600, "kubeconfig")
    expect_equal(device.api("GET", "/api/v1/namespaces")["kind"], "NamespaceList")


run(device)

#!/usr/bin/env python3
# timeout: 240
# parallel: yes
"""Bad input over the real listener: each gets its named answer, the daemon stays, its memory too, and others are served."""
import base64
import http.client
import json
import os
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, Skip, case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import Device, config_map

if not shutil.which("openssl"):
    skip("no openssl")
device = Device(registry=False, network={"mode": "none"})
device.runs_pods = False
device.start()
PKI = os.path.join(device.data_dir, "pki")
MAPS = "/api/v1/namespaces/default/configmaps"
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
device.api("POST", MAPS, config_map("target", a="x"))


def context(certificate=None, key=None):
    made = ssl.create_default_context(cafile=PKI + "/ca.crt")
    if certificate:
        made.load_cert_chain(certificate, key)
    return made


ADMIN = context(PKI + "/admin.crt", PKI + "/admin.key")


def connect(tls=None):
    raw = socket.create_connection(("127.0.0.1", 6443), timeout=20)
    return (tls or ADMIN).wrap_socket(raw, server_hostname="127.0.0.1")


def ask(method, path, body=None, headers=None, tls=None):
    """Status and Status object or text, over TLS."""
    connection = http.client.HTTPSConnection("127.0.0.1", 6443, timeout=30, context=tls or ADMIN)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        return answer.status, json.loads(text) if text.startswith("{") else text
    finally:
        connection.close()


def refused(status, pattern, method, path, body=None, headers=None):
    got, said = ask(method, path, body, headers)
    message = said.get("message", "") if isinstance(said, dict) else said
    expect_equal(got, status, f"{method} {path[:60]}: {message[:300]}")
    expect_match(pattern, message, f"{method} {path[:60]}")


def raw(sent, tls=None, close=True):
    """All that comes back for these bytes."""
    stream = connect(tls)
    try:
        stream.sendall(sent)
        if close:
            stream.settimeout(15)
        out = b""
        while True:
            try:
                more = stream.recv(65536)
            except ConnectionResetError:
                return out
            if not more:
                return out
            out += more
    finally:
        stream.close()


def rss_kb():
    with open(f"/proc/{device.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


@case
def json_bombs():
    for depth in 65, 1000, 1000000:
        for opening, closing in ("[", "]"), ('{"a":', "}"):
            body = opening * depth + ("1" if opening == '{"a":' else "") + closing * depth
            if len(body) < 3 << 20:
                refused(400, "nesting deeper than 64", "POST", MAPS, body)
    name = '"metadata":{"name":"n"}'
    for text, says in (('{"a":1,', "JSON|expected"), ('{%s,"data":{"a":1e400}}' % name, "out of range"),
                       ('{%s,"data":{"a":01}}' % name, "leading zero"), ('{%s,"data":{"a":"\\ud800"}}' % name, "surrogate"),
                       ('{%s,"data":{"a":"\\u0000"}}' % name, "NUL"), ('{%s,"data":{"a":"x"}}x' % name, "after the JSON value"),
                       ('{%s,"data":{"a":5}}' % name, "data"), ("", "body|empty|EOF|end"), ("[]", "array")):
        refused(400, says, "POST", MAPS, text)
    refused(400, "UTF-8", "POST", MAPS, b'{"metadata":{"name":"n"},"data":{"a":"\xff\xfe"}}')
    refused(413, "limit", "POST", MAPS, '{"a":"' + "x" * (3 << 20) + '"}')
    refused(422, "Too long", "POST", MAPS, json.dumps({"metadata": {"name": "big"}, "data": {"a": "x" * (1 << 20) + "x"}}))


@case
def yaml_bombs():
    apply = {"Content-Type": "application/apply-patch+yaml"}
    path = MAPS + "/y?fieldManager=m"
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi"))
    head = "apiVersion: v1\nkind: ConfigMap\n"
    for text, says in ((laughs, "anchors are not allowed"), (head + "x: *y\n", "aliases are not allowed"), (head + "<<: {a: b}\n", "merge keys"),
                       (head + "x: !!python/object:os.system x\n", "tag"), (head + "x: " + "[" * 10000, "deeper|nest"),
                       (head + "---\n" + head, "document"), (head + "\tx: 1\n", "line 3"), (head + "kind: Pod\n", "twice"),
                       (head + "x: " + "{a: " * 70 + "}" * 70 + "\n", "deeper|nest")):
        refused(400, says, "PATCH", path, text, apply)


@case
def patches():
    target = MAPS + "/target"
    bomb = [{"op": "add", "path": "/data/b", "value": "x" * 1000}] + [{"op": "copy", "from": "/data", "path": f"/data/c{i}"} for i in range(40)]
    refused(413, "exceeding the limit", "PATCH", target, json.dumps(bomb), JSON_PATCH)
    many = [{"op": "add", "path": "/data/a", "value": "x"}] * 10001
    refused(413, "10000", "PATCH", target, json.dumps(many), JSON_PATCH)
    for patch in ([{"op": "add", "path": "/metadata/name", "value": "other"}], [{"op": "replace", "path": "", "value": 5}],
                  [{"op": "move", "from": "/data", "path": "/data/x"}], [5], {"op": "add"}):
        status, said = ask("PATCH", target, json.dumps(patch), JSON_PATCH)
        expect(status in (400, 422), f"{patch}: {status} {str(said)[:200]}")
    merge = {"Content-Type": "application/merge-patch+json"}
    refused(400, "nesting deeper than 64", "PATCH", target, '{"data":' * 1000 + "1" + "}" * 1000, merge)
    for body in "null", "[]", "5", "":
        status, said = ask("PATCH", target, body, merge)
        expect_equal(status, 400, f"merge {body!r}: {str(said)[:200]}")
    refused(415, "application/merge-patch", "PATCH", target, "{}", {"Content-Type": "application/cbor"})
    # Wide, and again in another order: no square of it.
    wide = {f"k{i}": "" for i in range(12000)}
    other = dict(reversed(wide.items()))
    began = time.monotonic()
    for body in wide, other:
        expect_equal(ask("PATCH", target, json.dumps({"data": body}), merge)[0], 200, "a wide merge")
        expect_equal(ask("PATCH", target, json.dumps([{"op": "add", "path": "/data/a", "value": "x"}, {"op": "test", "path": "/data", "value": {**body, "a": "x"}}]),
                         JSON_PATCH)[0], 200, "a wide test")
        whole = {**config_map("wide", **body), "apiVersion": "v1", "kind": "ConfigMap"}
        expect(ask("PATCH", MAPS + "/wide?fieldManager=m", json.dumps(whole), {"Content-Type": "application/apply-patch+yaml"})[0] in (200, 201), "a wide apply")
    expect(time.monotonic() - began < 30, f"wide objects take {time.monotonic() - began:.0f} s")
    expect_equal(device.api("GET", target)["data"]["a"], "x", "the target")


@case
def names_and_queries():
    for name in "x" * 254, "Upper", "..", "a..b", "-a", "a_b", "ä", "a\x00b", "a/b", "":
        status, said = ask("POST", MAPS, json.dumps(config_map(name)))
        expect(status in (400, 422), f"name {name[:20]!r}: {status} {str(said)[:200]}")
    for path in "/api/v1/namespaces/../configmaps", "/api/v1/namespaces/%2e%2e/configmaps", "/api/v1/namespaces/default/configmaps/%2e%2e%2fx":
        status, _ = ask("GET", path)
        expect(status in (400, 404), f"{path}: {status}")
    refused(400, "invalid URL escape|escape|NUL|400|percent", "GET", MAPS + "/a%00b")
    for query in ("limit=-1", "labelSelector=%28%28", "labelSelector=a+in+%28", "labelSelector=%3D%3D", "fieldSelector=no.such%3Dx",
                  "continue=garbage", "resourceVersion=abc", "resourceVersion=-5", "timeoutSeconds=x", "labelSelector=" + "a%3D" + "b" * 5000):
        status, said = ask("GET", MAPS + "?" + query)
        expect(status in (400, 422), f"{query[:60]}: {status} {str(said)[:200]}")
        expect(said["message"], query[:60])
    expect(ask("GET", MAPS + "?resourceVersion=99999999999&resourceVersionMatch=Exact")[0] in (400, 410, 504), "a version of the future")


@case
def lines_and_bodies():
    good = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
    for sent, status in ((b"GET /livez HTTP/1.1\nHost: a\n\n", 400), (good + b"X : y\r\n\r\n", 400), (good + b"X: a\r\n b\r\n\r\n", 400),
                         (good + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400), (good + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
                         (good + b"Transfer-Encoding: chunked, identity\r\n\r\n", 400), (good + b"X: " + b"a" * 70000 + b"\r\n\r\n", 431),
                         (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
                         (b"POST " + MAPS.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413)):
        answer = raw(sent)
        expect_match(rf"^HTTP/1\.1 {status} ", answer[:40].decode("latin-1"), sent[:60].decode("latin-1"))
        expect(b"Connection: close" in answer, f"{sent[:60]}: the connection stays")
    # What a proxy in front might take for the body of the first is no second request.
    smuggled = b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + b"DELETE " + MAPS.encode() + b"/target HTTP/1.1\r\nHost: a\r\n\r\n"
    expect_equal(raw(smuggled).count(b"HTTP/1.1 "), 1, "answers to a smuggled request")
    device.api("GET", MAPS + "/target")
    endless = connect()
    endless.sendall(b"POST " + MAPS.encode() + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(49):  # 3 MiB and one byte
        endless.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    expect_match("^HTTP/1.1 413 ", endless.recv(1000).decode("latin-1"), "a body without end")
    began = time.monotonic()
    try:
        while time.monotonic() - began < 20:
            endless.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    except OSError:
        pass
    expect(time.monotonic() - began < 15, "what follows is read for ever")
    endless.close()


@case
def half_requests_and_slow_readers():
    """Forty that stop in the middle and ten that do not read: others are served at once."""
    def served(times=50):
        """The middle and the longest of so many answers, in seconds."""
        took = []
        for _ in range(times):
            began = time.monotonic()
            expect_equal(device.api("GET", "/livez", raw=True), "ok", "livez")
            device.api("GET", MAPS + "/target")
            took.append(time.monotonic() - began)
        return sorted(took)[times // 2], max(took)

    stuck = []
    alone = served()
    for number in range(40):
        stream = connect()
        stream.sendall(b"POST " + MAPS.encode() + b" HTTP/1.1\r\nHost: a\r\n" + (b"Content-Length: 1000\r\n\r\nhalf" if number % 2 else b"X-Half: "))
        stuck.append(stream)
    for _ in range(10):
        stream = connect()
        stream.sendall((b"GET /openapi/v2 HTTP/1.1\r\nHost: a\r\n\r\n") * 50)
        stuck.append(stream)
    before = rss_kb()
    beside = served()
    # Who waits for one of the stuck waits for its deadline: 10 s and more. How busy the machine is shows in `alone`.
    expect(beside[1] < max(5, 10 * alone[1]) and beside[0] < max(0.5, 10 * alone[0]), f"others wait: {beside} s beside them, {alone} s alone")
    expect(rss_kb() - before < 32000, "memory of slow readers")
    for stream in stuck:
        stream.close()


@case
def tokens():
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"iss": "https://kubernetes.default.svc.cluster.local", "aud": ["https://kubernetes.default.svc.cluster.local"], "exp": int(time.time()) + 3600,
              "nbf": 0, "iat": 0, "sub": "system:serviceaccount:kube-system:default", "kubernetes.io": {"namespace": "kube-system", "serviceaccount": {"name": "default", "uid": "x"}}}
    nobody = context()
    for token in (part({"alg": "none"}) + "." + part(claims) + ".", part({"alg": "HS256"}) + "." + part(claims) + ".AAAA", "a" * 20000, "a.b.c", "...", "%00"):
        status, said = ask("GET", "/api/v1/pods", headers={"Authorization": "Bearer " + token}, tls=nobody)
        expect_equal(status, 401, f"{token[:30]}: {str(said)[:200]}")
        expect("alg" not in json.dumps(said), f"the reason is told to strangers: {said}")
    status, _ = ask("GET", "/api/v1/pods", headers={"Authorization": "Bearer " + "a" * 70000}, tls=nobody)
    expect_equal(status, 431, "a token of 70 KB")


def signed(name, *options, extensions="extendedKeyUsage=clientAuth\n", days="1", digest="-sha256", ca=("ca.crt", "ca.key")):
    """A client certificate for system:masters that the device's authority did sign: what the rest of it says decides."""
    home = os.path.join(device.home, "certificates")
    os.makedirs(home, exist_ok=True)
    base = os.path.join(home, name)
    with open(base + ".ext", "w", encoding="ascii") as file:
        file.write(extensions)
    for words in (["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/O=system:masters/CN=" + name,
                   "-keyout", base + ".key", "-out", base + ".csr", *options],
                  ["x509", "-req", "-in", base + ".csr", "-CA", PKI + "/" + ca[0], "-CAkey", PKI + "/" + ca[1], "-CAcreateserial", "-CAserial", base + ".srl",
                   "-days", days, digest, "-extfile", base + ".ext", "-out", base + ".crt"]):
        subprocess.run(["openssl", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return context(base + ".crt", base + ".key")


def let_in(tls):
    try:
        status, said = ask("GET", "/api/v1/namespaces", tls=tls)
    except (ssl.SSLError, OSError, http.client.HTTPException):
        return False
    expect(status in (200, 401), f"{status} {said}")
    return status == 200


@case
def client_certificates():
    expect(let_in(signed("good")), "a good one is refused")
    expect(not let_in(signed("server", extensions="extendedKeyUsage=serverAuth\n")), "one for servers is let in")
    expect(not let_in(signed("code", extensions="extendedKeyUsage=codeSigning\n")), "one for code is let in")
    expect(not let_in(signed("expired", days="-1")), "an expired one is let in")
    expect(not let_in(signed("below", ca=("admin.crt", "admin.key"))), "one that a client signed is let in")


@case
def tls_misuse():
    plain = socket.create_connection(("127.0.0.1", 6443), timeout=10)
    plain.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
    expect_match("400 Bad Request", plain.recv(1000).decode("latin-1"), "plain HTTP")
    plain.close()
    for version in "-tls1", "-tls1_1":
        done = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:6443", version, "-cipher", "ALL:@SECLEVEL=0"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
        expect(done.returncode != 0 and "Cipher is (NONE)" in done.stdout, f"{version}: {done.stdout[-400:]}")
    expect("200 OK" in over_s_client(6443), "openssl s_client is not answered at all")
    said = over_s_client(6443, "R\n")
    expect("RENEGOTIATING" in said and "200 OK" not in said, f"a second handshake is granted, or was not asked for: {said[-600:]}")
    # The same input does find a server that grants one.
    with subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:6450", "-www", "-client_renegotiation", "-cert", PKI + "/serving.crt",
                           "-key", PKI + "/serving.key"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            eventually(lambda: socket.create_connection(("127.0.0.1", 6450)).close() is None, 10, "openssl s_server")
            said = over_s_client(6450, "R\n")
            expect("RENEGOTIATING" in said and "200 ok" in said, f"a server that grants a second handshake is not found: {said[-600:]}")
        finally:
            server.kill()


def over_s_client(port, *before):
    """What openssl s_client prints for a GET. It takes a command (R: a second handshake) only where a read begins with it and
    drops what else was read, and it ends with its input: hence the pauses."""
    client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    try:
        time.sleep(1)  # the first handshake
        for sent in (*before, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"):
            client.stdin.write(sent.encode())
            client.stdin.flush()
            time.sleep(1)
    except BrokenPipeError:
        pass  # it was shown out
    try:
        return client.communicate(timeout=20)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        client.kill()
        raise Failure(f"openssl s_client does not end: {client.communicate()[0][-400:]}") from None


def bounded_and_alive():
    expect(device.process.poll() is None, "the daemon ended")
    expect(rss_kb() < 96000, f"memory: {rss_kb()} KB")
    expect_equal(device.api("GET", MAPS + "/target")["data"]["a"], "x", "the target")
    with open(device.log_file, encoding="utf-8", errors="replace") as file:
        expect(len(file.readlines()) < 3000, "a flood of lines")


run(device, at_once=3, last=[bounded_and_alive])

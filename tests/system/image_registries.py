#!/usr/bin/env python3
# timeout: 180
"""Registries over TLS with a password: imagePullSecrets of pods, an authority of the device's own."""
import http.server
import os
import socket
import socketserver
import subprocess
import sys
import threading

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, case, eventually, expect, expect_match, run, skip
from limpet import SCRATCH, pod, pod_device
import busybox_image

ADDRESS = "192.0.2.1"  # not loopback, where certificates are not looked at
PRIVATE, STRANGER = ADDRESS + ":5443", ADDRESS + ":5444"
# "user" and "secret", as `htpasswd -Bbn user secret` writes them.
PASSWORDS = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
CONFIGURATION = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {home}/storage}}}}
http: {{addr: "{address}", secret: test, tls: {{certificate: {home}/cert.pem, key: {home}/key.pem}}}}
auth: {{htpasswd: {{realm: test, path: {home}/htpasswd}}}}
"""

METADATA = "169.254.169.254"


class Redirects(http.server.BaseHTTPRequestHandler):
    """Leads everybody to a name of the device's link."""

    def do_GET(self):  # pylint: disable=invalid-name
        self.send_response(307)
        self.send_header("Location", "http://metadata.example/latest/meta-data/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


for program in ("docker-registry", "skopeo", "openssl"):
    if subprocess.run(["which", program], stdout=subprocess.DEVNULL, check=False).returncode != 0:
        skip(f"no {program}")
subprocess.run(["ip", "address", "add", ADDRESS + "/32", "dev", "lo"], check=True)
registries = []


def registry(address, name):
    """A docker-registry over TLS with a password and a certificate that signs itself, holding app:1."""
    home = os.path.join(SCRATCH, name)
    os.makedirs(home)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", home + "/key.pem", "-out", home + "/cert.pem", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=IP:{ADDRESS}"], check=True, stderr=subprocess.DEVNULL)
    for file, text in (("htpasswd", PASSWORDS), ("config.yml", CONFIGURATION.format(home=home, address=address))):
        with open(os.path.join(home, file), "w", encoding="utf-8") as out:
            out.write(text)
    registries.append(subprocess.Popen(["docker-registry", "serve", home + "/config.yml"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    archive = home + "/app.tar"
    busybox_image.Image().archive(archive, "app")

    def push():
        return subprocess.run(["skopeo", "copy", "--dest-creds", "user:secret", "--dest-tls-verify=false",
                               "oci-archive:" + archive, f"docker://{address}/app:1"], check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    eventually(push, 60, f"{name} takes an image", every=0.2)
    return home + "/cert.pem"


authority = registry(PRIVATE, "private")
registry(STRANGER, "stranger")
device = pod_device(registries={"insecure": ["127.0.0.1:5000"], "caFile": authority})


def pull_secret(name, server, password):
    device.kubectl(["create", "secret", "docker-registry", name, f"--docker-server={server}", "--docker-username=user",
                    f"--docker-password={password}"])


def private_pod(name, *secrets, image=PRIVATE + "/app:1", **spec):
    return pod(name, container={"image": image, "imagePullPolicy": "Always"},
               imagePullSecrets=[{"name": s} for s in secrets], **spec)


def refused(name, pattern):
    """The pod waits for an image it does not get, and its events say why."""
    device.wait_status(name, "ErrImagePull|ImagePullBackOff", 60)
    text = "\n".join(eventually(lambda: [e for e in device.events(name) if "Failed" in e and "pull" in e], 20, "an event"))
    expect_match(pattern, text)
    expect("secret" not in text.replace("imagePullSecret", ""), f"a password in an event: {text}")


@case
def right_secret():
    pull_secret("right", PRIVATE, "secret")
    device.create(private_pod("with-right", "right"))
    device.wait_ready_pod("with-right", 60)


@case
def wrong_secret():
    pull_secret("wrong", PRIVATE, "guess")
    device.create(private_pod("with-wrong", "wrong"))
    refused("with-wrong", "pull access denied|authorization|401")


@case
def no_secret():
    device.create(private_pod("with-none"))
    refused("with-none", "pull access denied|authorization|401")


@case
def secret_for_another_registry():
    pull_secret("elsewhere", "registry.example", "secret")
    device.create(private_pod("with-other", "elsewhere"))
    refused("with-other", "pull access denied|authorization|401")


@case
def one_of_several_fits():
    pull_secret("first", PRIVATE, "guess")
    pull_secret("second", PRIVATE, "secret")
    device.create(private_pod("with-two", "first", "second"))
    device.wait_ready_pod("with-two", 60)


@case
def secret_that_comes_later():
    device.create(private_pod("patient", "late"))
    device.wait_status("patient", "ErrImagePull|ImagePullBackOff", 60)
    pull_secret("late", PRIVATE, "secret")
    device.wait_ready_pod("patient", 90)


@case
def unknown_authority():
    """The event names the registry and what to do."""
    pull_secret("stranger", STRANGER, "secret")
    device.create(private_pod("with-stranger", "stranger", image=STRANGER + "/app:1"))
    refused("with-stranger", f"https://{STRANGER}/.*is not signed by the authorities of registries.caFile; .*limpetd.yaml")


@case
def names_of_the_own_link():
    """Where clouds keep credentials: neither a name that resolves to it nor a redirect to one leads there."""
    subprocess.run(["ip", "address", "add", METADATA + "/32", "dev", "lo"], check=True)
    hosts = os.path.join(SCRATCH, "hosts")
    with open(hosts, "w", encoding="ascii") as out:
        out.write(f"127.0.0.1 localhost\n{METADATA} metadata.example\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)  # of the mount namespace of this test
    try:
        with socket.create_server((METADATA, 443)) as secure, socket.create_server((METADATA, 80)) as plain:
            why = f"{METADATA} is an address of the device's own link, which is refused"
            device.create(private_pod("by-name", image="metadata.example/app:1"))
            refused("by-name", why)
            with socketserver.TCPServer(("127.0.0.1", 0), Redirects) as leads:
                threading.Thread(target=leads.serve_forever).start()
                device.create(private_pod("by-redirect", image=f"127.0.0.1:{leads.server_address[1]}/app:1"))
                refused("by-redirect", why)
                leads.shutdown()
            for listener in secure, plain:
                listener.setblocking(False)
                try:
                    listener.accept()
                except BlockingIOError:
                    continue
                raise Failure("somebody came")
    finally:
        subprocess.run(["umount", "/etc/hosts"], check=True)


try:
    run(device)
finally:
    for process in registries:
        process.kill()

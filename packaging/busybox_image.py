#!/usr/bin/env python3
"""Makes an OCI image from Debian's busybox-static and puts it where it is wanted. Python's standard library only.

  busybox_image.py push http://127.0.0.1:5000 busybox:1     to a registry that takes plain HTTP
  busybox_image.py archive FILE.tar busybox:1               as an OCI archive, for `limpet image import`

The image is the same byte for byte on every machine with the same busybox.
"""
import gzip
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
INDEX = "application/vnd.oci.image.index.v1+json"
DIRECTORIES = [("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("proc", 0o755), ("root", 0o700),
               ("sys", 0o755), ("tmp", 0o1777), ("usr", 0o755), ("var", 0o755), ("var/www", 0o755)]
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/group": "root:x:0:\nwww:x:33:\nextra:x:44:www\nnogroup:x:65534:\n",
    "var/www/index.html": "limpet holds on\n",
}


def architecture():
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm"}.get(machine, machine)


def find_busybox():
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path):
            return path
    sys.exit("busybox_image.py: no busybox; install busybox-static")


def make_layer(busybox, files=()):
    """The layer as an uncompressed tar: the program, a link per applet, a few files and the caller's."""
    applets = subprocess.run([busybox, "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        def add(name, mode, kind=tarfile.REGTYPE, data=b"", target=""):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.type, entry.size, entry.linkname = mode, kind, len(data), target
            tar.addfile(entry, io.BytesIO(data))

        for name, mode in DIRECTORIES:
            add(name, mode, tarfile.DIRTYPE)
        with open(busybox, "rb") as file:
            add("bin/busybox", 0o755, data=file.read())
        for applet in sorted(set(applets) - {"busybox"}):
            add("bin/" + applet, 0o777, tarfile.SYMTYPE, target="busybox")
        for name, text in {**FILES, **dict(files)}.items():
            add(name, 0o644, data=text.encode())
    return out.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(value):
    return json.dumps(value, separators=(",", ":")).encode()


class Image:
    """config, layers and manifest as bytes. `files` are more files of the layer by name, `tar` is another layer in its
    place, `above` are layers on top of it."""

    def __init__(self, settings=None, busybox=None, files=(), tar=None, above=()):
        tars = [tar or make_layer(busybox or find_busybox(), files), *above]
        self.layers = [gzip.compress(tar, 6, mtime=0) for tar in tars]
        self.config = encode({
            "architecture": architecture(), "os": "linux",
            "config": settings or {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in tars]}})
        self.manifest = encode({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(self.config), "size": len(self.config)},
            "layers": [{"mediaType": LAYER, "digest": digest(layer), "size": len(layer)} for layer in self.layers]})

    def push(self, registry, repository, tag):
        for blob in dict.fromkeys((*self.layers, self.config)):
            self._push_blob(f"{registry}/v2/{repository}/blobs", blob)
        _request(f"{registry}/v2/{repository}/manifests/{tag}", "PUT", self.manifest, MANIFEST)

    @staticmethod
    def _push_blob(url, blob):
        try:
            _request(f"{url}/{digest(blob)}", "HEAD")
            return
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
        answer = _request(url + "/uploads/", "POST", b"")
        place = urllib.parse.urljoin(url, answer.headers["Location"])
        _request(f"{place}{'&' if '?' in place else '?'}digest={digest(blob)}", "PUT", blob,
                 "application/octet-stream")

    def archive(self, path, name):
        """An OCI image layout in one tar file."""
        with tarfile.open(path, "w") as tar:
            def add(member, data):
                entry = tarfile.TarInfo(member)
                entry.size, entry.mode = len(data), 0o644
                tar.addfile(entry, io.BytesIO(data))

            add("oci-layout", encode({"imageLayoutVersion": "1.0.0"}))
            for blob in dict.fromkeys((*self.layers, self.config, self.manifest)):
                add("blobs/sha256/" + digest(blob)[7:], blob)
            add("index.json", encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
                "mediaType": MANIFEST, "digest": digest(self.manifest), "size": len(self.manifest),
                "platform": {"architecture": architecture(), "os": "linux"},
                "annotations": {"org.opencontainers.image.ref.name": name}}]}))


# Registries of this machine are never behind its proxy.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _request(url, method, body=None, content_type=None):
    headers = {"Content-Type": content_type} if content_type else {}
    return _opener.open(urllib.request.Request(url, data=body, method=method, headers=headers), timeout=30)


def main(arguments):
    if len(arguments) != 3 or arguments[0] not in ("push", "archive"):
        sys.exit(__doc__)
    repository, _, tag = arguments[2].partition(":")
    if arguments[0] == "push":
        Image().push(arguments[1].rstrip("/"), repository, tag or "latest")
    else:
        Image().archive(arguments[1], arguments[2])


if __name__ == "__main__":
    main(sys.argv[1:])

#!/usr/bin/env python3
# timeout: 240
"""Images on the device: many layers, whiteouts through the real overlay, removed and pulled again, damaged, large."""
import glob
import io
import os
import subprocess
import sys
import tarfile
import threading

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import container_status, is_ready, pod, pod_device
import busybox_image

device = pod_device()
if not os.path.exists(device.programs + "/limpet"):
    device.close()
    skip("limpet is not built")


def limpet(words):
    return device.run(f"limpet --socket {device.run_dir}/limpet.sock {words}")


def good(words):
    code, out, err = limpet(words)
    expect_equal(code, 0, f"limpet {words}: {out}{err}")
    return out


def layer(*entries):
    """A layer of (name, text), (name, None) for a directory or (name, ("->", target)) for a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            if content is None:
                entry.type = tarfile.DIRTYPE
                content = ""
            elif isinstance(content, tuple):
                entry.type, entry.linkname, content = tarfile.SYMTYPE, content[1], ""
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content.encode()))
    return out.getvalue()


def push(name, above, **options):
    busybox_image.Image(above=above, **options).push(f"http://{device.registry.address}", name, "1")
    return f"{device.registry.address}/{name}:1"


def output(name, image, script):
    device.create(pod(name, script, container={"image": image}, restartPolicy="Never"))
    device.wait_status(name, "Completed", 90)
    return device.kubectl(f"logs {name}").rstrip("\n")


@case
def many_layers():
    """As many as an image may have: more than the paths of which fit into the page that mount(2) takes."""
    image = push("many", [layer((f"f{n}", str(n)), ("last", str(n))) for n in range(127)])
    expect_equal(output("many", image, "ls /f* | wc -l; cat /f0 /f126 /last"), "127\n0126126")


@case
def removed_and_pulled_again():
    """At once, three times: what is being taken off the disk is not counted on."""
    image = push("again", [layer((f"again{n}", str(n))) for n in range(60)])
    good(f"image pull {image}")
    for layer_dir in glob.glob(device.data_dir + "/image*/layers/*"):
        os.utime(layer_dir, (1e9, 1e9))  # no youth protects them
    for _ in range(3):
        good(f"image rm {image}")
        good(f"image pull {image}")
        expect(image in good("image ls"), "it is listed")
    expect_equal(output("again", image, "ls /again* | wc -l"), "60")


@case
def whiteouts():
    """What the upper layer hides is hidden, what it brings is there, what it does not mention stays."""
    below = layer(("a", None), ("a/gone", "x"), ("a/stays", "stays"), ("b", None), ("b/old", "x"), ("b/sub", None),
                  ("b/sub/old", "x"), ("c", None), ("c/x", "x"), ("d", "a file"), ("link", ("->", "/a")))
    above = layer(("a/.wh.gone", ""), ("b/.wh..wh..opq", ""), ("b/new", "new"), (".wh.c", ""), ("d", None), ("d/in", "in"),
                  ("/absolute/name", "absolute"), ("link/through", "through"))
    image = push("whiteouts", [below, above])
    script = "for d in a b d; do ls /$d; done; ls -d /c; cat /a/stays /b/new /d/in /absolute/name /link/through"
    expect_equal(output("whiteouts", image, script + " 2>&1 || true").replace("ls: /c: No such file or directory\n", ""),
                 "stays\nnew\nin\n" "staysnewinabsolutethrough")


@case
def damaged_layer():
    """A file that lost its contents, or one bit of them: `limpet image pull` makes the layer again."""
    image = push("hurt", [layer(("precious", "value " * 1000))])
    expect_equal(output("hurt-0", image, "head -c 5 /precious"), "value")

    def empty(path):
        os.truncate(path, 0)

    def rot(path):
        times = os.stat(path)
        with open(path, "r+b") as file:
            file.write(b"V")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    for number, damage in enumerate((empty, rot)):
        damage(glob.glob(device.data_dir + "/image*/layers/*/fs/precious")[0])
        good(f"image pull {image}")
        expect_equal(output(f"hurt-{number + 1}", image, "head -c 5 /precious"), "value")


@case
def damaged_program():
    """A program that lost its contents under a pod: the device checks the image by itself, and the pod runs again."""
    image = push("worn", [layer(("worn", "#!/bin/sh\nexec sleep 100000\n"))])
    container = {"image": image, "command": ["/worn"]}
    device.create(pod("worn-before", container=container))
    device.wait_ready_pod("worn-before", 60)
    os.truncate(glob.glob(device.data_dir + "/image*/layers/*/fs/worn")[0], 0)
    device.create(pod("worn-after", container=container))
    device.wait_pod("worn-after", lambda p: is_ready(p) and container_status(p)["restartCount"] == 1, 60)
    for reason in ("CheckingImage", "CheckedImage"):
        eventually(lambda: any(f" {reason} " in e for e in device.events("worn-after")), 20, reason)


@case
def memory_of_a_large_image():
    """Printed: the design gives 32 MB to the daemon and its children while 50 MB of zstd
    are pulled. The size plays no part in it, so that half of that will do."""
    if not all(subprocess.run(["which", program], stdout=subprocess.DEVNULL, check=False).returncode == 0
               for program in ("skopeo", "zstd")):
        return
    archive = os.path.join(device.home, "large.tar")
    busybox_image.Image(tar=layer(("noise", os.urandom(25_000_000).hex()))).archive(archive, "large")
    subprocess.run(["skopeo", "copy", "--dest-tls-verify=false", "--dest-compress", "--dest-compress-format", "zstd",
                    "oci-archive:" + archive, f"docker://{device.registry.address}/large:1"],
                   check=True, stdout=subprocess.DEVNULL)
    peaks, over = {}, threading.Event()

    def watch():
        while not over.wait(0.01):
            for status in glob.glob("/proc/[0-9]*/status"):
                try:
                    with open(status, encoding="utf-8") as file:
                        values = dict(line.split(":", 1) for line in file if ":" in line)
                except OSError:
                    continue
                name = values["Name"].strip()
                if name in ("limpetd", "limpet-unpack") and "VmHWM" in values:
                    peaks[name] = max(peaks.get(name, 0), int(values["VmHWM"].split()[0]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        good(f"image pull {device.registry.address}/large:1")
    finally:
        over.set()
        watcher.join()
    print("peak resident memory in kB:", peaks)
    expect_match("large:1", good("image ls"))


run(device, at_once=2)

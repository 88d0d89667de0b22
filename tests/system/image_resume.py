#!/usr/bin/env python3
# timeout: 240
"""Pulls over a bad link: cut off, the daemon stopped and killed, the device rebooted. They go on at the byte where they
were; a registry that counts shows how little is fetched twice. How far they are is seen where people look."""
import io
import os
import re
import sys
import tarfile

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import case, eventually, expect, expect_equal, expect_match, run, skip
from limpet import pod, pod_device
from reboot import mount_run, reboot, same_boot
from slow_registry import SlowRegistry
import busybox_image

MIB = 1 << 20
SIZE = 24 * MIB
LINK = "127.0.0.1:5005"
RUN = os.path.join(os.environ["TEST_TMP"], "device", "run")
mount_run(RUN)
device = pod_device(registries={"insecure": ["127.0.0.1:5000", LINK]}, images={"maxParallelPulls": 1})
if not os.path.exists(device.programs + "/limpet"):
    device.close()
    skip("limpet is not built")
link = SlowRegistry(5005, "127.0.0.1:5000")


def push(name):
    """An image with a layer of 24 MiB that no other image has."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("big")
        entry.size = SIZE
        tar.addfile(entry, io.BytesIO(os.urandom(SIZE)))
    busybox_image.Image(above=[layer.getvalue()]).push("http://127.0.0.1:5000", name, "1")
    link.served.clear()
    link.ranges.clear()
    return f"{LINK}/{name}:1"


def limpet(words):
    code, out, err = device.run(f"limpet --socket {device.run_dir}/limpet.sock {words}")
    expect_equal(code, 0, f"limpet {words}: {out}{err}")
    return out + err


def metric(name):
    text = device.api("GET", "/metrics", raw=True)
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    expect(found, f"there is no {name} in /metrics")
    return float(found.group(1))


def fetched(wanted):
    return eventually(lambda: link.blob_bytes() >= wanted, 60, f"{wanted} bytes are fetched", every=0.02)


def whole(name, image, twice):
    """The pod runs, and no more than `twice` was fetched twice."""
    link.rate = 0
    device.wait_ready_pod(name, 90)
    size = SIZE + 3 * MIB  # busybox is in it, and what tar adds
    served = link.blob_bytes()
    print(f"{name}: served {served / MIB:.2f} MiB, of them twice at most {max(0, served - SIZE) / MIB:.2f}")
    expect(served <= size + twice, f"{image}: {served} bytes were served for {size}")
    expect_equal(device.kubectl(f"exec {name} -- stat -c %s /big").strip(), str(SIZE))


@case
def a_broken_link():
    image = push("broken")
    link.cut_after, link.cuts = 7 * MIB, 3
    device.create(pod("broken", container={"image": image}))
    whole("broken", image, 3 * MIB)
    expect_equal(link.cuts, 0)
    expect(sum(1 for r in link.ranges if r) == 3, f"asked for {link.ranges}")


@case
def a_stopped_a_killed_and_a_rebooted_daemon():
    image = push("stopped")
    link.rate = 5 * MIB
    device.create(pod("stopped", container={"image": image}))
    fetched(4 * MIB)
    expect_equal(device.stop(), 0)
    device.start_daemon()
    fetched(10 * MIB)
    device.kill()
    device.start_daemon()
    fetched(16 * MIB)
    reboot(device, RUN)
    device.registry.start().wait()
    device.start_daemon()
    # A reboot may cost what came since the last mark, 4 MiB at most; a stop or kill what is in the buffers.
    whole("stopped", image, 3 * MIB + 4 * MIB)
    expect(metric("limpet_image_resumed_bytes_total") >= 10 * MIB, "what was there was gone on with")


@case
def how_far_it_is():
    image = push("watched")
    link.rate = 3 * MIB
    device.create(pod("watched", container={"image": image}))
    fetched(6 * MIB)
    pattern = rf"{re.escape(image)}, [0-9.]+ MiB of 2[0-9] MiB \([0-9]+%\), [0-9] of [0-9] layers"
    for words in ("status", "ps", "image ls"):
        expect_match(pattern, re.sub(r"\s+", " ", limpet(words)))
    before = link.blob_bytes()
    counted = metric(f'limpet_image_received_bytes_total{{registry="{LINK}"}}')
    expect(counted >= before - MIB, f"{counted} bytes are counted, {before} were served")
    expect(metric("limpet_image_pull_total_bytes") >= SIZE, "the total is known")
    expect_equal(metric('limpet_image_pulls{state="running"}'), 1)
    whole("watched", image, MIB)
    expect_equal(metric('limpet_image_pulls{state="running"}'), 0)


try:
    run(device, at_once=1)
finally:
    same_boot()
    link.stop()

"""Rows of what reaches the flash."""
import json
import os
import time

from measure import Running, load, note, row, start_pods


def at_rest(flash):
    """The count once what the starts left in memory is on disk: the kernel writes file data within 30 s, and with a
    sync what its journal had, of which a later one moves the rest to its place."""
    time.sleep(45)
    last = flash.written()
    for _ in range(6):
        time.sleep(10)
        now = flash.written()
        if now == last:
            return now
        last = now
    return last


@row("bytes", 0, decimals=0)
def idle_flash_bytes():
    """In ten minutes with 10 pods. BENCH_IDLE_SECONDS makes it shorter; the figure is then scaled, which is said."""
    seconds = int(os.environ.get("BENCH_IDLE_SECONDS", "600"))
    with Running("flash", registry=True, flash=True) as device:
        start_pods(device, 10)
        device.registry.stop()  # it lies on the same file system
        before = at_rest(device.flash)
        time.sleep(seconds)
        written = device.flash.written() - before
    if seconds != 600:
        note(f"idle_flash_bytes: {written} bytes in {seconds} s, scaled to ten minutes")
    return written * 600 / seconds


@row("kB", 24)
def flash_per_write_kb():
    """2,000 updates of an object of 3 KB, each acknowledged before the next, and what the end of the daemon adds."""
    updates = 2000
    with Running("writes", flash=True) as device:
        path = "/api/v1/namespaces/default/configmaps"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"v": "x" * 2700}}
        device.api("POST", path, body)
        time.sleep(5)
        before = device.flash.written()
        for number in range(updates):
            body["data"]["v"] = f"{number:05}" + "x" * 2700
            device.api("PUT", path + "/c", body)
        size = len(json.dumps(device.api("GET", path + "/c")))
        device.stop()  # with the last checkpoint
        written = device.flash.written() - before
        device.start_daemon()
    note(f"flash_per_write_kb: the object has {size} bytes as JSON")
    return written / updates / 1024

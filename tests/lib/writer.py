"""Writers that remember what the API acknowledged, for tests that end the daemon under them."""
import threading
import time

from case import Failure, expect, expect_equal
from limpet import config_map

MAPS = "/api/v1/namespaces/default/configmaps"


class Writer(threading.Thread):
    """Creates, updates and deletes as fast as it is answered, and remembers what was acknowledged."""

    def __init__(self, device, number):
        super().__init__(daemon=True)
        self.device = device
        self.number = number
        self.sure = {}     # name: value acknowledged; None once its deletion was
        self.unsure = {}   # name: what was asked when the answer did not come
        self.going = True
        self.serial = 0

    def run(self):
        while self.going:
            self.serial += 1
            name = f"w{self.number}-{self.serial % 40}"
            try:
                self.write(name)
            except (Failure, OSError, ValueError):
                time.sleep(0.01)

    def write(self, name):
        value = str(self.serial)
        old = self.sure.get(name)
        if self.unsure.get(name) is not None:  # look first what became of it
            self.sure[name] = self.read(name)
            del self.unsure[name]
        elif old is None:
            self.unsure[name] = (old, value)
            self.device.api("POST", MAPS, config_map(name, v=value))
            self.done(name, value)
        elif self.serial % 7 == 0:
            self.unsure[name] = (old, None)
            self.device.api("DELETE", f"{MAPS}/{name}")
            self.done(name, None)
        else:
            self.unsure[name] = (old, value)
            self.device.api("PUT", f"{MAPS}/{name}", config_map(name, v=value))
            self.done(name, value)

    def done(self, name, value):
        self.sure[name] = value
        del self.unsure[name]

    def read(self, name):
        items = self.device.api("GET", f"{MAPS}?fieldSelector=metadata.name%3D{name}")["items"]
        got = items[0]["data"]["v"] if items else None
        if name in self.unsure and got not in self.unsure[name]:
            raise AssertionError(f"{name} is {got}, was to be one of {self.unsure[name]}")
        return got

    def check(self, found):
        for name, value in self.sure.items():
            if name in self.unsure:
                expect(found.get(name) in self.unsure[name], f"{name} is {found.get(name)}, was to be one of {self.unsure[name]}")
            else:
                expect_equal(found.get(name), value, f"acknowledged write of {name}")


def rest(writers):
    """Until nothing is under way."""
    for writer in writers:
        writer.going = False
    for writer in writers:
        writer.join(40)


def restarted(writers):
    """Others that go on where these stopped."""
    fresh = []
    for writer in writers:
        again = Writer(writer.device, writer.number)
        again.sure, again.unsure, again.serial = writer.sure, writer.unsure, writer.serial
        fresh.append(again)
    for writer in fresh:
        writer.start()
    return fresh


def check_all(device, writers):
    """Everything that was acknowledged is there as it was acknowledged."""
    found = {i["metadata"]["name"]: i["data"]["v"] for i in device.api("GET", MAPS)["items"] if "v" in i.get("data", {})}
    for writer in writers:
        writer.check(found)

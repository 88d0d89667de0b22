"""`kubectl get -w` of what a load writes, kept open on one device.

It ends with the daemon that it asks; a change of the leader it does not notice."""
import threading

from case import expect


class KubectlWatch(threading.Thread):
    def __init__(self, device, selector):
        super().__init__(daemon=True)
        self.device, self.daemon_was = device, device.process
        self.shown = []
        self.process = device.popen(["kubectl", "get", "configmaps", "-l", selector, "-w", "-o", "name"])
        self.start()

    def run(self):
        for line in self.process.stdout:
            self.shown.append(line.strip().removeprefix("configmap/"))

    def survives(self):
        """Whether its daemon is the one that it began with."""
        return self.device.process is self.daemon_was

    def close(self):
        self.process.kill()
        self.process.wait()
        self.join()

    def check(self, wanted):
        """Of everything no more than once, and all of it where the daemon lived on."""
        once = set(self.shown)
        expect(len(once) == len(self.shown), f"{self.device.name}: kubectl shows {len(self.shown) - len(once)} objects twice")
        if not self.survives():
            return
        missing = [name for name in wanted if name not in once]
        expect(not missing, f"{self.device.name}: kubectl misses {len(missing)} of {len(wanted)}: {missing[:5]}, last "
                            f"shown: {self.shown[-3:]}")

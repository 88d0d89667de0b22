"""A real registry (Debian's docker-registry) for one test, holding busybox:1. Ends with stop()."""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["LIMPET_SOURCE"], "packaging"))
import busybox_image  # noqa: E402

from case import Failure, skip  # noqa: E402

CONFIGURATION = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {storage}}}, delete: {{enabled: true}}}}
http: {{addr: "{address}", secret: test}}
"""


class Registry:
    def __init__(self, directory, address="127.0.0.1:5000", prefix=()):
        if not shutil.which("docker-registry"):
            skip("no docker-registry")
        self.address = address
        self.directory = directory
        self.prefix = list(prefix)
        self.process = None
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, "config.yml"), "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(storage=os.path.join(directory, "storage"), address=address))

    def start(self):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen(
                self.prefix + ["docker-registry", "serve", os.path.join(self.directory, "config.yml")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def wait(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            probe = self.prefix + ["curl", "-sf", "--noproxy", "*", "-o", "/dev/null", f"http://{self.address}/v2/"]
            if subprocess.run(probe, check=False).returncode == 0:
                return self
            time.sleep(0.05)
        raise Failure("docker-registry does not answer")

    def push(self, name="busybox:1", settings=None):
        if self.prefix:
            script = os.path.join(os.environ["LIMPET_SOURCE"], "packaging", "busybox_image.py")
            subprocess.run(self.prefix + [script, "push", f"http://{self.address}", name], check=True)
            return self
        repository, _, tag = name.partition(":")
        busybox_image.Image(settings).push(f"http://{self.address}", repository, tag)
        return self

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

"""Failpoints (src/base/failpoint.h) in daemons that a test starts.

    start_armed(device, "store.publish", "kill", 2)
    eventually(lambda: was_hit(device), 20, "it comes past there")
    died(device, 5)              # by its own hand
    device.start_daemon()        # without
"""
import os
import pathlib
import re
import subprocess
import typing

SOURCE = pathlib.Path(os.environ["LIMPET_SOURCE"])


class Failpoint(typing.NamedTuple):
    name: str
    place: str
    error: str    # what the error path leads to
    by: str       # the unit test that reaches it
    cluster: str  # what leads there in a cluster; "-": nothing does

    def ends(self):
        """Whether a daemon ends that takes the error path."""
        return self.error in ("stops", "no start")


def table():
    """docs/failpoints.md: those of the store and of the connections to peers."""
    text = (SOURCE / "docs" / "failpoints.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    return [Failpoint(*row) for row in rows]


def in_source():
    """Names of all failpoints that are written out in the source."""
    return sorted({name for file in (SOURCE / "src").rglob("*.cc")
                   for name in re.findall(r'LIMPET_FAILPOINT\("([a-z._]+)"', file.read_text(encoding="utf-8"))})


def start_armed(device, name, action, nth=0, wait=False):
    """The daemon, to act at its nth hit of the place, or at each."""
    device.log_before = os.path.getsize(device.log_file) if os.path.exists(device.log_file) else 0
    device.armed = f"failpoint name={name} action={action}"
    spec = f"{name}={action}" + (f"@{nth}" if nth else "")
    device.start_daemon(wait=wait, environment={"LIMPET_FAILPOINTS": spec})


def was_hit(device):
    """Whether the daemon that was started last so has acted."""
    with open(device.log_file, "rb") as file:
        file.seek(device.log_before)
        return device.armed.encode() in file.read()


def died(device, seconds):
    """Whether the daemon killed itself within this time."""
    try:
        return device.process.wait(seconds) == -9
    except subprocess.TimeoutExpired:
        return False

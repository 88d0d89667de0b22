"""A control group with a memory limit, for a daemon with everything that it starts. Version 1 or 2, whichever has the memory
controller here."""
import os

from case import Skip, eventually


def _mounts():
    """(directory, whether it is version 2) of each hierarchy."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        lines = [line.split(" - ") for line in file]
    found = [(left.split()[4], right.split()) for left, right in lines if right.startswith("cgroup")]
    return [(place, words[0] == "cgroup2", words[-1].split(",")) for place, words in found]


def _memory_hierarchy():
    for place, unified, options in _mounts():
        if not unified and "memory" in options:
            return place, False
    for place, unified, _ in _mounts():
        try:
            with open(os.path.join(place, "cgroup.controllers"), encoding="utf-8") as file:
                if unified and "memory" in file.read().split():
                    return place, True
        except OSError:
            pass
    raise Skip("no memory controller")


class MemoryGroup:
    """NAME with the limit, below it "daemon", where the words of `launcher` put what they start. Groups beside that count,
    too, when they are made below NAME."""

    def __init__(self, name, megabytes):
        hierarchy, self.unified = _memory_hierarchy()
        self.name, self.limit = name, megabytes << 20
        self.directory = os.path.join(hierarchy, name)
        try:
            if self.unified:
                self._write(hierarchy, "cgroup.subtree_control", "+memory")
            os.makedirs(os.path.join(self.directory, "daemon"))
            self._write(self.directory, "memory.max" if self.unified else "memory.limit_in_bytes", str(self.limit))
            if self.unified and os.path.exists(os.path.join(self.directory, "memory.swap.max")):
                self._write(self.directory, "memory.swap.max", "0")
        except OSError as error:
            raise Skip(f"memory control groups cannot be used: {error}") from None
        joined = os.path.join(self.directory, "daemon", "cgroup.procs")
        self.launcher = ["sh", "-c", f'echo $$ >{joined} && exec "$@"', "sh"]

    @staticmethod
    def _write(directory, name, text):
        with open(os.path.join(directory, name), "w", encoding="ascii") as file:
            file.write(text)

    def _number(self, name):
        with open(os.path.join(self.directory, name), encoding="ascii") as file:
            return int(file.read())

    def _keyed(self, name, key, directory=None):
        with open(os.path.join(directory or self.directory, name), encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in file if line.split()[0] == key)

    def _below(self):
        return [path for path, _, _ in os.walk(self.directory)]

    def kills(self):
        """Processes that the kernel ended because the limit was hit."""
        if self.unified:
            return self._keyed("memory.events", "oom_kill")
        return sum(self._keyed("memory.oom_control", "oom_kill", directory) for directory in self._below())

    def peak(self):
        """Bytes at most, with what the kernel keeps of files."""
        return self._number("memory.peak" if self.unified else "memory.max_usage_in_bytes")

    def pressed(self):
        """How often the limit was met and something had to be given up for it."""
        return self._keyed("memory.events", "max") if self.unified else self._number("memory.failcnt")

    def holds(self, pid):
        with open(os.path.join(self.directory, "daemon", "cgroup.procs"), encoding="ascii") as file:
            return pid in [int(line) for line in file]

    def close(self):
        """When everything in it has ended: in every hierarchy, where the device made groups below it."""
        for place, _, _ in _mounts():
            top = os.path.join(place, self.name)
            for path in [path for path, _, _ in os.walk(top, topdown=False)]:
                eventually(lambda: not os.path.isdir(path) or os.rmdir(path) is None, 10, f"{path} is removed")

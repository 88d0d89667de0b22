"""What a disk was told, in order, and what a power cut may leave of it.

QEMU's driver blklogwrites keeps a log of all writes and flushes of a disk, in the format of the kernel's dm-log-writes
(Documentation/admin-guide/device-mapper/log-writes.rst; struct log_write_super and log_write_entry).

    log = BlockLog(path)
    log.entries                      Entry(sector, sectors, flags, offset of its data in the log, end in the log)
    log.crash(base, image, end, rng)    makes `image`: all that was flushed before entry `end`, some of the rest
"""
import collections
import os
import shutil
import struct

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD = 1, 2, 4
SECTOR = 512
SUPERBLOCK = 1024  # where ext4 has it
Entry = collections.namedtuple("Entry", "sector sectors flags data end")


def torn(start, data, rng):
    """What there may be of a write under way: it may reach the disk up to any sector. Not that of ext4's superblock, two
    sectors with one checksum: one torn there is not mounted by any system, whoever wrote what into the files."""
    if len(data) > SECTOR and not start <= SUPERBLOCK < start + len(data) and rng.random() < 0.25:
        return data[:rng.randrange(1, len(data) // SECTOR) * SECTOR]
    return data


class BlockLog:
    def __init__(self, path):
        self.file = open(path, "rb")
        magic, version, self.declared, self.size = struct.unpack("<QQQI", self.file.read(28))
        if magic != MAGIC or version != 1:
            raise ValueError(f"{path} is no log of writes: magic {magic:x}, version {version}")
        self.entries = list(self._read(os.path.getsize(path)))
        self.applied = 0       # entries that `base` has

    def _read(self, length):
        """The header's count is written at times only; entries follow each other without a gap."""
        at = self.size
        while at + self.size <= length:
            self.file.seek(at)
            sector, sectors, flags, _ = struct.unpack("<QQQQ", self.file.read(32))
            data = at + self.size
            at = data + (0 if flags & DISCARD else sectors * self.size)
            if (sectors == 0 and not flags & FLUSH) or at > length:
                return  # what was being written when the machine ended
            yield Entry(sector, sectors, flags, data, at)

    def close(self):
        self.file.close()

    def flushed_before(self, end):
        """How many of the entries are on the disk for sure when the power goes just before entry `end`."""
        return max((i + 1 for i in range(end) if self.entries[i].flags & FLUSH), default=0)

    def crash(self, base, image, end, rng):
        """`base` is an image that this moves forward, so `end` must not go back from one call to the next."""
        sure = self.flushed_before(end)
        with open(base, "r+b") as disk:
            for entry in self.entries[self.applied:sure]:
                self._write(disk, entry, self._data(entry))
        self.applied = sure
        shutil.copyfile(base, image)
        keep = rng.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        with open(image, "r+b") as disk:
            for entry in self.entries[sure:end]:
                if entry.flags & FUA:
                    self._write(disk, entry, self._data(entry))
                elif rng.random() < keep:
                    self._write(disk, entry, torn(entry.sector * self.size, self._data(entry), rng))

    def _data(self, entry):
        if entry.flags & DISCARD:
            return b""
        self.file.seek(entry.data)
        return self.file.read(entry.sectors * self.size)

    def _write(self, disk, entry, data):
        disk.seek(entry.sector * self.size)
        disk.write(data)

"""Disks with a volatile write cache, served to QEMU over NBD, whose power can be cut one by one or all at one moment.

    disks = CachedDisks({"one": "/path/of/image", ...}, seed)      a process of its own
    disks.uri("one")                    for QEMU's -drive
    disks.cut(["one"], after=0)         the power goes: a Loss of each
    disks.fail(["one"])                 what waits since the cut, and what comes, is answered with an error
    disks.restore(["one"])              the power is back
    disks.close()

What was flushed is in the image. What was not is in memory: a cut keeps some of those writes and drops the others,
torn at sectors, by dice. From the cut to fail() nothing is answered at all, so that a process that is killed meanwhile
never sees the error that no machine without power sees. `after`: the cut comes with the so-manieth write or flush of
any of them, before that is done, if there are so many within two seconds; moments at which something is under way are
few, and are those that count. Protocol: https://github.com/NetworkBlockDevice/nbd,
doc/proto.md; fixed newstyle negotiation, simple replies, one export a socket.
"""
import collections
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading

from block_log import torn

MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC = 0x4E42444D41474943, 0x49484156454F5054, 0x3E889045565A9
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
FIXED_NEWSTYLE, NO_ZEROES = 1, 2                            # flags of the handshake
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8                   # flags of an export
OPTION_EXPORT_NAME, OPTION_ABORT, OPTION_GO = 1, 2, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, 0x80000001
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FUA = 1
EIO, EINVAL = 5, 22
ON, HELD, FAILING = range(3)
LONGEST = 32 << 20  # bytes of one request

PATIENCE_SECONDS = 2

Loss = collections.namedtuple("Loss", "dropped kept flushes")  # writes not flushed, of which some are kept; flushes before
Write = collections.namedtuple("Write", "start data sure")


class _Fuse:
    """Blows with the so-manieth write or flush."""

    def __init__(self, count):
        self.lock, self.count, self.blown = threading.Lock(), count, threading.Event()

    def burn(self):
        with self.lock:
            self.count -= 1
            if self.count <= 0:
                self.blown.set()
            return self.blown.is_set()


class _Disk:
    """`image` has what is there for sure; `current` what is read, with the writes in `cache` on top."""

    def __init__(self, image):
        self.lock = threading.Condition()
        self.state, self.flushes, self.fuse = ON, 0, None
        self.image = open(image, "r+b", buffering=0)
        self.size = os.fstat(self.image.fileno()).st_size
        self.current = bytearray(self.image.read())
        self.cache = []

    def request(self, kind, flags, start, length, data):
        """Error number and what was read."""
        with self.lock:
            if self.fuse and self.state == ON and kind in (WRITE, FLUSH) and self.fuse.burn():
                self.state = HELD
            while self.state == HELD:
                self.lock.wait()
            if self.state == FAILING:
                return EIO, b""
            if start + length > self.size or kind not in (READ, WRITE, FLUSH):
                return EINVAL, b""
            if kind == READ:
                return 0, bytes(self.current[start:start + length])
            if kind == WRITE:
                self.current[start:start + length] = data
                self.cache.append(Write(start, data, bool(flags & FUA)))
            else:
                self._flush()
            return 0, b""

    def _flush(self):
        self.flushes += 1
        for write in self.cache:
            self._put(write.start, write.data)
        self.cache = []

    def _put(self, start, data):
        self.image.seek(start)
        self.image.write(data)

    def lose(self, rng):
        """With the lock held: the power is gone."""
        keep = rng.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        dropped = 0
        for write in self.cache:
            if write.sure:
                self._put(write.start, write.data)
            elif rng.random() < keep:
                self._put(write.start, torn(write.start, write.data, rng))
            else:
                dropped += 1
        loss = Loss(dropped, len(self.cache) - dropped, self.flushes)
        for write in self.cache:
            self.image.seek(write.start)
            self.current[write.start:write.start + len(write.data)] = self.image.read(len(write.data))
        self.cache, self.fuse = [], None
        return loss


class _Connection(threading.Thread):
    def __init__(self, disk, channel):
        super().__init__(daemon=True)
        self.disk, self.channel = disk, channel

    def run(self):
        try:
            self._negotiate()
            while self._serve():
                pass
        except OSError:  # QEMU was killed
            pass
        self.channel.close()

    def _get(self, form):
        return struct.unpack(form, self._bytes(struct.calcsize(form)))

    def _bytes(self, count):
        data = bytearray()
        while len(data) < count:
            more = self.channel.recv(count - len(data))
            if not more:
                raise OSError("the other end is gone")
            data += more
        return bytes(data)

    def _negotiate(self):
        export = struct.pack(">QH", self.disk.size, HAS_FLAGS | SEND_FLUSH | SEND_FUA)
        self.channel.sendall(struct.pack(">QQH", MAGIC, OPTION_MAGIC, FIXED_NEWSTYLE | NO_ZEROES))
        flags, = self._get(">I")
        while True:
            magic, option, length = self._get(">QII")
            if magic != OPTION_MAGIC or length > 4096:
                raise OSError(f"no option of NBD: magic {magic:x}, {length} bytes")
            self._bytes(length)
            if option == OPTION_EXPORT_NAME:
                self.channel.sendall(export + (b"" if flags & NO_ZEROES else bytes(124)))
                return
            if option == OPTION_GO:
                self._answer(option, REPLY_INFO, struct.pack(">H", 0) + export)
                self._answer(option, REPLY_ACK)
                return
            self._answer(option, REPLY_ACK if option == OPTION_ABORT else REPLY_UNSUPPORTED)
            if option == OPTION_ABORT:
                raise OSError("given up by the other end")

    def _answer(self, option, kind, data=b""):
        self.channel.sendall(struct.pack(">QIII", OPTION_REPLY_MAGIC, option, kind, len(data)) + data)

    def _serve(self):
        magic, flags, kind, handle, start, length = self._get(">IHHQQI")
        if magic != REQUEST_MAGIC or length > LONGEST:
            raise OSError(f"no request of NBD: magic {magic:x}, {length} bytes")
        data = self._bytes(length) if kind == WRITE else b""
        if kind == DISCONNECT:
            return False
        error, answer = self.disk.request(kind, flags, start, length, data)
        self.channel.sendall(struct.pack(">IIQ", REPLY_MAGIC, error, handle) + answer)
        return True


def _accept(disk, listener):
    while True:
        channel, _ = listener.accept()
        _Connection(disk, channel).start()


def _serve(seed, images):
    """The process: orders [state, names, after] come as lines of JSON and are answered with one, the losses of a cut."""
    rng = random.Random(seed)
    disks = {name: _Disk(image) for name, image in images.items()}
    for name, disk in disks.items():
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(_socket(images[name]))
        listener.listen()
        threading.Thread(target=_accept, args=(disk, listener), daemon=True).start()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        state, names, after = json.loads(line)
        chosen = [disks[name] for name in names]
        if after:
            fuse = _Fuse(after)
            for disk in chosen:
                disk.fuse = fuse
            fuse.blown.wait(PATIENCE_SECONDS)
        for disk in chosen:  # all of them first: one moment for all
            disk.lock.acquire()
        losses = [disk.lose(rng) for disk in chosen] if state == HELD else []
        for disk in chosen:
            disk.state = state
            disk.lock.notify_all()
            disk.lock.release()
        print(json.dumps(losses), flush=True)


def _socket(image):
    return image + ".nbd"


class CachedDisks:
    def __init__(self, images, seed):
        images = {str(name): image for name, image in images.items()}  # JSON knows no other keys
        self.images = images
        self.process = subprocess.Popen([sys.executable, os.path.realpath(__file__), str(seed), json.dumps(images)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def uri(self, name):
        return f"nbd+unix:///?socket={_socket(self.images[str(name)])}"

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of the disks ended with {self.process.wait()}")
        return json.loads(line)

    def _order(self, state, names, after=0):
        self.process.stdin.write(json.dumps([state, [str(name) for name in names], after]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def cut(self, names, after=0):
        return [Loss(*loss) for loss in self._order(HELD, names, after)]

    def fail(self, names):
        self._order(FAILING, names)

    def restore(self, names):
        self._order(ON, names)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), json.loads(sys.argv[2]))

"""A program on a terminal of its own, as a person at a keyboard has it."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from case import Failure


class Terminal:
    def __init__(self, command, environment, rows=24, columns=80):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.text = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "process"):
            os.kill(self.process.pid, signal.SIGWINCH)

    def type(self, text):
        os.write(self.master, text.encode())

    def read(self, seconds):
        """What comes within the time, once something does; "" at the end."""
        if not select.select([self.master], [], [], seconds)[0]:
            return None
        try:
            data = os.read(self.master, 65536).decode("utf-8", "replace")
        except OSError:  # the other side is closed
            return ""
        self.text += data
        return data

    def wait_for(self, text, seconds=20):
        """Until the text was printed since the last call; what came before it is forgotten."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            left = deadline - time.monotonic()
            if left <= 0 or self.read(min(left, 1)) == "":
                raise Failure(f"the terminal does not show {text!r}: {self.text[-800:]!r}")
        shown, _, self.text = self.text.partition(text)
        return shown

    def end(self, seconds=20):
        """The exit code, after reading to the end."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.read(0.2) != "":
            pass
        try:
            return self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failure(f"no end on the terminal: {self.text[-800:]!r}") from None
        finally:
            self.close()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

#!/usr/bin/env python3
# timeout: 120
"""What zsh and fish themselves offer with the completion that limpet prints; bash is driven by tests/unit/cli."""
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.environ["LIMPET_SOURCE"] + "/tests/lib")
from case import Failure, Skip, case, expect_equal, run, skip
from limpet import BUILD, SCRATCH

LIMPET = os.path.join(BUILD, "src/cli/limpet")
if not os.path.exists(LIMPET):
    skip("limpet is not built")
if not shutil.which("zsh") and not shutil.which("fish"):
    skip("neither zsh nor fish is installed")

COMMANDS = ("backup cert cluster completion doctor exec help image join kubeconfig logs node ps reset restart restore status "
            "support-bundle token top version why")
# The line, and what is offered at its end. Both shells get it.
ROWS = [
    ("limpet ", COMMANDS),
    ("limpet lo", "logs"),
    ("limpet re", "reset restart restore"),
    ("limpet --socket ps im", "image"),
    ("limpet help re", "reset restart restore"),
    ("limpet image ", "import ls pull rm"),
    ("limpet image ls ", ""),
    ("limpet token ", "create ls rm"),
    ("limpet backup keyg", "keygen"),
    ("limpet backup files/o", "files/one.tar"),
    ("limpet image ls --out", "--output"),
    ("limpet --tail ", ""),
    ("limpet ps --output ", "json"),
    ("limpet top --sort ", "cpu memory"),
    ("limpet logs ", "db-0 ps web"),
    ("limpet logs w", "web"),
    ("limpet logs web ", ""),
    ("limpet logs ps --t", "--tail --timestamps"),
    ("limpet logs --tail ", ""),
    ("limpet logs -n kube-system d", "db-0"),
    ("limpet exec web -- ", ""),
    ("limpet exec web -- --", ""),
    ("limpet completion ", "bash fish zsh"),
    ("limpet image import files/o", "files/one.tar"),
    ("limpet support-bundle files/t", "files/two.tar"),
    ("limpet --config files/o", "files/one.tar"),
    ("limpet reset --w", "--with-config"),
]
ZSH = """PS1= PS2=; unset zle_bracketed_paste; fpath=({home}/functions $fpath); autoload -Uz compinit; compinit -u -D
every() {{ _main_complete; compstate[insert]=all; compstate[list]= }}
zle -C every complete-word every
show() {{ print -r -- "<<$BUFFER>>"; BUFFER=; zle .accept-line }}
zle -N show; bindkey '^T' every; bindkey '^O' show; print rea''dy
"""


def prepare():
    """A place with files, and a limpet that knows three pods and prints the scripts of the real one."""
    home = os.path.join(SCRATCH, "completion")
    for directory in "bin", "functions", "files":
        os.makedirs(os.path.join(home, directory))
    for name in "one.tar", "two.tar":
        with open(os.path.join(home, "files", name), "w", encoding="ascii"):
            pass
    with open(os.path.join(home, "bin/limpet"), "w", encoding="ascii") as out:
        out.write(f"#!/bin/sh\n[ \"$1\" = ps ] || exec {shlex.quote(LIMPET)} \"$@\"\n"
                  "printf 'NAME  READY\\nweb   1/1\\n  main  Running\\ndb-0  1/1\\nps    1/1\\n'\n")
    os.chmod(os.path.join(home, "bin/limpet"), 0o755)
    for shell, path in ("zsh", "functions/_limpet"), ("fish", "limpet.fish"):
        with open(os.path.join(home, path), "wb") as out:
            subprocess.run([LIMPET, "completion", shell], stdout=out, check=True)
    return home


HOME = prepare()
ENVIRONMENT = dict(os.environ, HOME=HOME, XDG_CONFIG_HOME=HOME, XDG_DATA_HOME=HOME, ZDOTDIR=HOME, TERM="dumb",
                   COLUMNS="1000", PATH=HOME + "/bin:" + os.environ["PATH"])


class Zsh:
    """An interactive zsh on a terminal, where a key puts all that completion offers into the line, and another prints it."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(HOME)
            os.execvpe("zsh", ["zsh", "-f", "-i"], ENVIRONMENT)
        self.ask(ZSH.format(home=HOME), r"ready")

    def ask(self, keys, pattern):
        os.write(self.fd, keys.encode())
        text, end = "", time.monotonic() + 60
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.5)[0]:
                text += os.read(self.fd, 65536).decode("utf-8", "replace")
                found = re.search(pattern, text, re.DOTALL)
                if found:
                    return found
        raise Failure(f"zsh says nothing that is expected: {text[-500:]}")

    def offered(self, line):
        whole = self.ask(line + "\x14\x0f", r"<<(.*?)>>")[1]
        return "" if whole == line else " ".join(sorted(whole[line.rfind(" ") + 1:].split()))

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@case
def zsh():
    if not shutil.which("zsh"):
        raise Skip("zsh is not installed")
    shell = Zsh()
    try:
        for line, wanted in ROWS:
            expect_equal(shell.offered(line), wanted, f"zsh: {line!r}")
    finally:
        shell.close()


@case
def fish():
    if not shutil.which("fish"):
        raise Skip("fish is not installed")
    script = f"source {HOME}/limpet.fish\n"
    script += "".join(f"echo '<<'; complete -C {shlex.quote(line)}\n" for line, _ in ROWS)
    done = subprocess.run(["fish", "--no-config"], input=script.encode(), env=ENVIRONMENT, cwd=HOME, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
    answers = done.stdout.decode().split("<<\n")[1:]
    expect_equal(len(answers), len(ROWS), done.stdout.decode()[-500:])
    for (line, wanted), answer in zip(ROWS, answers):
        got = " ".join(sorted(word.split("\t")[0] for word in answer.splitlines()))
        expect_equal(got, wanted, f"fish: {line!r}")


class Nothing:
    """No device is needed."""

    def close(self):
        return []

    def log_tail(self, _):
        return ""


run(Nothing(), at_once=1)

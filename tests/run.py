"""Builds what the asked suites need, runs them with Meson and adds up the results.

Build directories, one purpose each:
  build/        products, gcc, optimised         suites machine and story run against it
  build-san/    gcc, ASan and UBSan              suite unit
  build-fuzz/   clang, libFuzzer, ASan, UBSan    suite fuzz; it also proves that clang compiles everything
  build-cov/    gcc, coverage                    ./check coverage
"""
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SANITIZE = ["-Db_sanitize=address,undefined", "-Db_lundef=false"]
DIRECTORIES = {
    "build": {"options": [], "env": {"CC": "gcc"}},
    "build-san": {"options": SANITIZE, "env": {"CC": "gcc"}},
    "build-fuzz": {"options": SANITIZE + ["-Dfuzz=true"], "env": {"CC": "clang"}},
    "build-cov": {"options": ["-Db_coverage=true", "-Doptimization=0"], "env": {"CC": "gcc"}},
}
SUITE_DIRECTORY = {"unit": "build-san", "fuzz": "build-fuzz", "machine": "build", "story": "build"}
# An emulated PC takes one core. Story tests bring servers and PCs of several programs, so they run one after the other.
PARALLEL = {"unit": 2, "fuzz": 2, "machine": 2, "story": 1}
COVERED = ["hypervisor/core", "hypervisor/platform", "store", "trust"]


def run(command, **kwargs):
    return subprocess.run(command, cwd=ROOT, **kwargs)


def build(directory):
    """Configures (once) and compiles one build directory; False if either fails."""
    settings = DIRECTORIES[directory]
    env = dict(os.environ, **settings["env"])
    if not os.path.exists(os.path.join(ROOT, directory, "build.ninja")):
        if run(["meson", "setup", directory, *settings["options"]], env=env,
               stdout=subprocess.DEVNULL).returncode:
            run(["meson", "setup", directory, *settings["options"]], env=env)
            return False
    return run(["ninja", "-C", directory, "--quiet"], env=env).returncode == 0


def count(directory, log_name):
    """Adds up the test cases of one run from Meson's JUnit file."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    failures = []
    path = os.path.join(ROOT, directory, "meson-logs", f"{log_name}.junit.xml")
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            counts["failed"] += 1
            failures.append(f"{case.get('classname', '')}: {case.get('name')}")
        elif case.find("skipped") is not None:
            counts["skipped"] += 1
        else:
            counts["passed"] += 1
    return counts, failures


def run_suite(suite):
    """Runs one suite; returns its counts and the names of what failed."""
    directory = SUITE_DIRECTORY[suite]
    if not build(directory):
        return {"passed": 0, "failed": 1, "skipped": 0}, [f"{suite}: {directory} does not build"]
    log_name = f"log-{suite}"
    path = os.path.join(ROOT, directory, "meson-logs", f"{log_name}.junit.xml")
    if os.path.exists(path):
        os.unlink(path)
    listed = run(["meson", "test", "-C", directory, "--list", "--suite", suite], capture_output=True, text=True)
    if " / " not in listed.stdout and ":" not in listed.stdout:
        return {"passed": 0, "failed": 0, "skipped": 0}, []
    # Limits are there against hanging; a busy machine must not decide whether a test passes.
    result = run(["meson", "test", "-C", directory, "--suite", suite, "--no-rebuild", "--logbase", log_name,
                  "--print-errorlogs", "--num-processes", str(PARALLEL[suite]), "--timeout-multiplier", "10"])
    if not os.path.exists(path):
        return {"passed": 0, "failed": 1, "skipped": 0}, [f"{suite}: Meson wrote no results"]
    counts, failures = count(directory, log_name)
    # A test program that dies before its plan, or times out, fails the run even if no case of it did.
    if result.returncode and not counts["failed"]:
        counts["failed"] += 1
        failures.append(f"{suite}: a test program failed outside its cases, see {directory}/meson-logs/{log_name}.txt")
    return counts, failures


def coverage():
    """Unit tests with branch coverage; prints one line a file."""
    if not build("build-cov"):
        return 1
    status = run(["meson", "test", "-C", "build-cov", "--suite", "unit", "--no-rebuild", "--quiet"]).returncode
    filters = [option for part in COVERED for option in ("--filter", f"{part}/")]
    run(["gcovr", "--root", ".", "--object-directory", "build-cov", "--branches", "--exclude-unreachable-branches",
         "--txt-metric", "branch", *filters] if "--txt-metric" in run(["gcovr", "--help"], capture_output=True,
                                                                      text=True).stdout
        else ["gcovr", "--root", ".", "--object-directory", "build-cov", "--branches",
              "--exclude-unreachable-branches", *filters])
    return status


def main():
    mode, suites = sys.argv[1], sys.argv[2:]
    if mode == "coverage":
        return coverage()
    total = {"passed": 0, "failed": 0, "skipped": 0}
    failures = []
    for suite in suites:
        print(f"== {suite}", flush=True)
        counts, failed = run_suite(suite)
        for key in total:
            total[key] += counts[key]
        failures += failed
    for name in failures:
        print(f"failed: {name}")
    if not any(total.values()):
        print("check: no test ran; that is a failure too")
        total["failed"] = 1
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped", flush=True)
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Deletes flushes, clears and checks of hypervisor/core one at a time and shows that a test fails.

Mutations are derived from the source:
  flush, clear   every statement that is a call of a function that flushes or clears
  record         every statement that changes the frame table or a page table
  check          every `if (...)` that leads to a return, break or continue: its condition becomes false
A mutant is caught if the core does not compile, or one of the core's tests fails on it. A mutant
that changes nothing anybody could see is listed in EQUIVALENT with the reason.

usage: mutate.py [--all | --sample N [--seed S]] [--list] [--steps N]
  --all        every mutation (minutes); ends with a table
  --sample N   N mutations, chosen by the seed (default: the day, so that a check each day sees all)
  --list       prints the mutations and stops
  --steps N    random steps of the model test for each mutant (default 60000)
TAP on standard output.
"""
import argparse
import concurrent.futures
import os
import random
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
CORE = os.path.join(ROOT, "hypervisor", "core")
PLATFORM = os.path.join(ROOT, "hypervisor", "platform")  # what the core calls; not mutated
TESTS = os.path.join(ROOT, "tests", "unit", "hypervisor")
FLAGS = ["-std=gnu11", "-O1", "-g0", "-w", "-I" + CORE, "-I" + PLATFORM, "-I" + os.path.join(ROOT, "include"), "-I" + TESTS]
LIMIT_SECONDS = 30

CALLS = {
    "flush": r"(?:arch_flush|flush_service|flush_guest)",
    "clear": r"(?:arch_clear_page|address_space_collect)",
    "record": r"(?:frame_set|address_space_set|count_difference|count_change|ownership_unpin|merge|split"
              r"|hide_from_service|show_to_service|address_space_prepare|write_leaves)",
}

# Test programs; the model test comes last, being the slowest.
PROGRAMS = ("core_test", "core_guest_test", "core_start_test", "core_memory_test",
            "core_balloon_test", "core_platform_test", "core_report_test")
MODEL = ("core_model", "core_model_guests", "core_model_pages", "core_model_test")

# (file, source just before the mutated condition, reason)
HAS_TABLE = "a small page that was taken has left the service domain a table, so giving it back never lacks one"
EQUIVALENT = [
    ("ownership.c", "RESERVED_TABLES + 1);\n\tif (", HAS_TABLE),
    ("teardown.c", "&guest->teardown.done);\n\t\tif (", HAS_TABLE),
    ("teardown.c", "return_page(held, table);\n\t\tif (", HAS_TABLE),
    ("teardown.c", "return_page(held, space->root);\n\tif (", HAS_TABLE),
    ("guest_memory.c", "find_in_one_page(memory, address, size_bytes);\n\tstruct span span;\n\n\tif (",
     "a shorter way to bytes that lie in one page, as most do; the other way finds them as well"),
]


class Mutation:
    def __init__(self, path, line, kind, text, start, end, replacement, before):
        self.before = before
        self.path, self.line, self.kind, self.text = path, line, kind, text
        self.start, self.end, self.replacement = start, end, replacement

    def name(self):
        return f"{os.path.basename(self.path)}:{self.line} {self.kind}: {self.text}"

    def reason(self):
        for file, before, why in EQUIVALENT:
            if os.path.basename(self.path) == file and self.before.endswith(before):
                return why
        return None


def matching_parenthesis(source, start):
    depth = 0
    for i in range(start, len(source)):
        depth += {"(": 1, ")": -1}.get(source[i], 0)
        if depth == 0:
            return i
    raise ValueError("unbalanced")


def find_calls(path, source):
    for kind, pattern in CALLS.items():
        for match in re.finditer(r"(?<=\n)\t+(?:\(void\))?" + pattern + r"\(", source):
            end = matching_parenthesis(source, match.end() - 1) + 1
            if source[end] == ";":
                yield kind, match.start(), end + 1, ";"


def find_checks(path, source):
    for match in re.finditer(r"(?<=\n)\t+(?:else )?if \(", source):
        start = match.end()
        end = matching_parenthesis(source, start - 1)
        if re.match(r"\s*\{?\s*(?:\w+\([^;]*\);\s*)?(?:return|break|continue)\b", source[end + 1:]):
            yield "check", start, end, "0"


def mutations():
    result = []
    for name in sorted(os.listdir(CORE)):
        if not name.endswith(".c"):
            continue
        path = os.path.join(CORE, name)
        with open(path, encoding="utf-8") as file:
            source = file.read()
        for kind, start, end, replacement in list(find_calls(path, source)) + list(find_checks(path, source)):
            line = source.count("\n", 0, start) + 1
            if source[start] == "\n":
                line += 1
            text = " ".join(source[start:end].split())
            result.append(Mutation(path, line, kind, text, start, end, replacement, source[:start]))
    return result


def compile_object(source, output):
    return subprocess.run([os.environ.get("CC", "gcc"), *FLAGS, "-c", source, "-o", output],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def build_rest(directory):
    """Compiles everything once; a mutant replaces one object."""
    names = [os.path.join(folder, name) for folder in (CORE, PLATFORM) for name in sorted(os.listdir(folder))
             if name.endswith(".c")]
    names += [os.path.join(TESTS, name + ".c") for name in ("fake_arch", *MODEL, *PROGRAMS)]
    objects = {}
    for name in names:
        objects[name] = os.path.join(directory, os.path.basename(name)[:-2] + ".o")
        if not compile_object(name, objects[name]):
            raise SystemExit(f"mutate: {name} does not compile as it stands")
    return objects


def run_tests(objects, directory, label, steps):
    """True if every test passes."""
    def of(name):
        return objects[os.path.join(TESTS, name + ".c")]

    shared = [path for name, path in objects.items() if name.startswith((CORE, PLATFORM))] + [of("fake_arch")]
    programs = [(shared + [of(name)], []) for name in PROGRAMS]
    programs.append((shared + [of(name) for name in MODEL], [str(steps)]))
    for number, (parts, arguments) in enumerate(programs):
        program = os.path.join(directory, f"{label}-{number}")
        if subprocess.run(["gcc", *parts, "-lcmocka", "-lcrypto", "-o", program],
                          stderr=subprocess.DEVNULL).returncode:
            return False
        try:
            result = subprocess.run([program, *arguments], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL, timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        finally:
            os.unlink(program)
        if result.returncode:
            return False
    return True


def is_caught(mutation, objects, directory, label, steps):
    with open(mutation.path, encoding="utf-8") as file:
        source = file.read()
    mutant = os.path.join(directory, f"{label}.c")
    with open(mutant, "w", encoding="utf-8") as file:
        file.write(source[:mutation.start] + mutation.replacement + source[mutation.end:])
    changed = dict(objects)
    changed[mutation.path] = os.path.join(directory, f"{label}.o")
    try:
        if not compile_object(mutant, changed[mutation.path]):
            return True
        return not run_tests(changed, directory, label, steps)
    finally:
        for path in (mutant, changed[mutation.path]):
            if os.path.exists(path):
                os.unlink(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--sample", type=int, default=24)
    parser.add_argument("--seed", type=int, default=int(time.time() // 86400))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--steps", type=int, default=60000)
    arguments = parser.parse_args()

    every = mutations()
    chosen = [mutation for mutation in every if not mutation.reason()]
    if arguments.list:
        for mutation in every:
            print(mutation.name() + (f"  (equivalent: {mutation.reason()})" if mutation.reason() else ""))
        return 0
    if not arguments.all:
        chosen = random.Random(arguments.seed).sample(chosen, min(arguments.sample, len(chosen)))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="bulkhead-mutate-") as directory:
        objects = build_rest(directory)
        print("TAP version 13", flush=True)
        print(f"1..{len(chosen) + 1}", flush=True)
        intact = run_tests(objects, directory, "intact", arguments.steps)
        print(f"{'ok' if intact else 'not ok'} 1 - the core as it stands passes", flush=True)
        failed += not intact
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            caught = pool.map(lambda item: is_caught(item[1], objects, directory, f"m{item[0]}", arguments.steps),
                              enumerate(chosen))
            for number, (mutation, result) in enumerate(zip(chosen, caught)):
                print(f"{'ok' if result else 'not ok'} {number + 2} - {mutation.name().replace('#', '')}", flush=True)
                failed += not result
    print(f"# {len(every)} mutations, {len(every) - len([m for m in every if not m.reason()])} equivalent, "
          f"{len(chosen)} made, {len(chosen) + (not intact) - failed} caught", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

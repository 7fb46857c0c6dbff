"""Runs one step of one tool, flushed to disk, and keeps what it cost.

Processor time, bytes and memory are the kernel's counts for the step's processes and say the same on a busy machine. Time
on the wall does not, so each step also knows how much of the machine others used meanwhile; a step that was disturbed
counts for everything but its time, and the round is made again (see `run`).
"""
import os
import subprocess
import sys
import time

BUSY = float(os.environ.get("BUSY", "0.3"))  # processors that others may use during a step whose time counts
TICK = os.sysconf("SC_CLK_TCK")


def kernel_seconds():
    """Processor seconds of the kernel's own threads (children of kthreadd): they write out what a step has written."""
    total = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit():
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    words = file.read().rsplit(")", 1)[1].split()
                if words[1] == "2":
                    total += int(words[11]) + int(words[12])
        except OSError:
            pass  # it has ended
    return total / TICK


def machine_seconds():
    """Processor seconds that this machine's processes have used, or were kept from by its host."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, _, _, steal = (int(word) for word in file.readline().split()[1:9])
    return (user + nice + system + steal) / TICK - kernel_seconds()


def folder_bytes(*paths):
    total = 0
    for path in paths:
        if os.path.isfile(path):
            total += os.path.getsize(path)
        for folder, _, names in os.walk(path):
            total += sum(os.path.getsize(os.path.join(folder, name)) for name in names)
    return total


class Figures:
    """What was measured: for each tool and case the least processor time, bytes and memory, and the least undisturbed
    time on the wall, if there was one."""

    def __init__(self):
        self.best = {}
        self.disturbed = 0
        self.written = None  # by an update: pack bytes, bytes fetched

    def keep(self, who, case, cpu, wall, peak, moved, others):
        figures = {"cpu": cpu, "MiB": peak, "bytes": moved, "wall": wall if others <= BUSY else None}
        if others > BUSY:
            self.disturbed += 1
        old = self.best.setdefault((who, case), figures)
        for unit, value in figures.items():
            if value is not None and (old[unit] is None or value < old[unit]):
                old[unit] = value

    def run(self, who, case, command, moved=None, others_cpu=None):
        """Runs a command and flushes; returns what it printed.

        moved       makes the bytes that count out of what was printed
        others_cpu  processor seconds so far of a process that works for the command without being its child
        """
        print(f"bench: {who}: {case}", file=sys.stderr, flush=True)
        os.sync()
        script = '"$@" >out.txt 2>err.txt || { tail -3 err.txt >&2; exit 1; }; sync -f .'
        before, helper, start = machine_seconds(), others_cpu() if others_cpu else 0, time.monotonic()
        child = subprocess.Popen(["sh", "-c", script, "sh", *command])
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        if child.returncode:
            sys.exit(f"{who} failed at {case}")
        cpu = usage.ru_utime + usage.ru_stime + ((others_cpu() - helper) if others_cpu else 0)
        others = max(machine_seconds() - before - cpu, 0) / max(wall, 0.01)
        with open("out.txt", encoding="utf-8", errors="replace") as file:
            out = file.read()
        self.keep(who, case, cpu, wall, usage.ru_maxrss / 1024, moved(out) if moved else None, others)
        return out

    def sum(self, who, case, *parts):
        """A case that is made of others, one after the other."""
        total = {}
        for unit in ("cpu", "wall"):
            values = [self.best[who, part][unit] for part in parts]
            total[unit] = None if None in values else sum(values)
        total["MiB"] = max(self.best[who, part]["MiB"] for part in parts)
        self.best[who, case] = {**total, "bytes": None}

"""What each tool is made to do with the disks v1, v2 and day: publish both versions, bring one up to date, fetch all of
one, back up the day. Every function works in an empty folder and compares what came out with the disk."""
import json
import os
import socket
import subprocess
import sys
import time

from measure import TICK, folder_bytes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, "build/benchmarks/store_bench")
# Tools that find by themselves what a store already has.
DEDUPLICATING = ("restic", "borg", "casync")


class Disks:
    """The images, and runs of blocks in which the day differs from the version it began as: what a change map says."""

    def __init__(self, folder):
        self.folder = folder
        self.v1, self.v2, self.day = (os.path.join(folder, name + ".raw") for name in ("v1", "v2", "day"))
        self.changes = os.path.join(folder, "changes")

    def all_there(self):
        return all(os.path.exists(path) for path in (self.v1, self.v2, self.day))

    def changed_runs(self):
        with open(self.v1, "rb") as one, open(self.day, "rb") as other:
            block = start = 0
            while True:
                a, b = one.read(4096), other.read(4096)
                if not b or a == b:
                    if block > start:
                        yield start, block - start
                    if not b:
                        return
                    start = block + 1
                block += 1

    def write_changes(self):
        if os.path.exists(self.changes) and os.path.getmtime(self.changes) > os.path.getmtime(self.day):
            return
        with open(self.changes + ".part", "w", encoding="ascii") as out:
            for first, count in self.changed_runs():
                out.write(f"{first} {count}\n")
        os.rename(self.changes + ".part", self.changes)


def first_number(out):
    return int(out.split()[0])


def same(one, other):
    if subprocess.run(["cmp", one, other], check=False).returncode:
        sys.exit(f"{one} is not {other}")
    os.unlink(one)


def ours(figures, disks):
    def run(case, *words, moved=first_number):
        return figures.run("bulkhead", case, [TOOL, *words], moved)

    run("publish", "publish", "s", disks.v1, "v1")
    run("publish update", "publish", "s", disks.v2, "v2", "v1")
    run("first fetch", "fetch", "s", "c", "v1")
    before = folder_bytes("c/packs")
    out = run("update", "fetch", "s", "c", "v2")
    figures.written = (folder_bytes("c/packs") - before, first_number(out))
    run("expand", "expand", "c", "v2", "o", moved=None)
    same("o", disks.v2)
    run("full fetch", "expand", "s", "v2", "o", moved=None)
    same("o", disks.v2)
    run("backup", "backup", "s", disks.day, "day", "v1", disks.changes)
    run("expand backup", "expand", "s", "day", "o", moved=None)
    same("o", disks.day)
    run("publish, fast", "publish", "f", disks.v1, "v1", "fast")


def restic(figures, disks):
    os.environ.update(RESTIC_PASSWORD="x", RESTIC_CACHE_DIR=os.path.abspath("rc"))
    subprocess.run(["restic", "-q", "-r", "r", "init"], check=True, stdout=subprocess.DEVNULL)
    for case, disk in (("publish", disks.v1), ("publish update", disks.v2), ("backup", disks.day)):
        before = folder_bytes("r")
        figures.run("restic", case, ["restic", "-r", "r", "backup", disk], lambda _: folder_bytes("r") - before)
        if disk == disks.v2:
            figures.run("restic", "full fetch", ["restic", "-r", "r", "restore", "latest", "--target", "x"])
            same("x" + disk, disk)


def borg(figures, disks):
    os.environ.update(BORG_PASSPHRASE="x", BORG_BASE_DIR=os.path.abspath("bb"),
                      BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes")
    subprocess.run(["borg", "init", "-e", "repokey-blake2", "r"], check=True, stderr=subprocess.DEVNULL)
    for case, disk in (("publish", disks.v1), ("publish update", disks.v2), ("backup", disks.day)):
        before = folder_bytes("r")
        figures.run("borg", case, ["borg", "create", "--compression=zstd,3", f"r::{os.path.basename(disk)}", disk],
                    lambda _: folder_bytes("r") - before)
        if disk == disks.v2:
            figures.run("borg", "full fetch", ["borg", "extract", "--sparse", "r::v2.raw"])
            same(disk.lstrip("/"), disk)


def casync(figures, disks):
    for case, disk in (("publish", disks.v1), ("publish update", disks.v2), ("backup", disks.day)):
        before = folder_bytes("st")
        figures.run("casync", case, ["casync", "make", "--store=st", case + ".caibx", disk],
                    lambda _: folder_bytes("st") - before + folder_bytes(case + ".caibx"))
        if disk == disks.v2:
            figures.run("casync", "full fetch", ["casync", "extract", "--store=st", case + ".caibx", "o"])
            same("o", disk)
    # What a PC with v1 lacks of v2 is what making v2 added.
    figures.best["casync", "update"] = {"bytes": figures.best["casync", "publish update"]["bytes"], "cpu": None,
                                        "wall": None, "MiB": None}


def zchunk(figures, disks):
    figures.run("zchunk", "publish", ["zck", "-o", "v1.zck", disks.v1], lambda _: folder_bytes("v1.zck"))
    figures.run("zchunk", "publish update", ["zck", "-o", "v2.zck", disks.v2], lambda _: folder_bytes("v2.zck"))
    figures.run("zchunk", "update", ["zck_delta_size", "v1.zck", "v2.zck"], lambda out: int(
        [line.split()[2] for line in out.splitlines() if line.startswith("Would download")][0]))


def xdelta3(figures, disks):
    figures.run("xdelta3", "update", ["xdelta3", "-e", "-q", "-3", "-B", "536870912", "-s", disks.v1, disks.v2, "d"],
                lambda _: folder_bytes("d"))


def rdiff(figures, disks):
    script = f"rdiff signature {disks.v1} g && rdiff delta g {disks.v2} d && zstd -q -3 d -o d.zst"
    figures.run("rdiff", "update", ["sh", "-c", script], lambda _: folder_bytes("d.zst", "g"))
    figures.run("rdiff", "apply", ["sh", "-c", f"zstd -q -d d.zst -o d2 && rdiff patch {disks.v1} d2 o"])
    same("o", disks.v2)


def zstd(figures, disks):
    for case, disk, name in (("publish", disks.v1, "v1"), ("publish update", disks.v2, "v2")):
        figures.run("zstd", case, ["zstd", "-q", "-3", "-T2", disk, "-o", name], lambda _: folder_bytes(name))
    figures.run("zstd", "full fetch", ["zstd", "-q", "-d", "--sparse", "v2", "-o", "o"])
    same("o", disks.v2)


class Monitor:
    """qemu-storage-daemon's QMP."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(200):
            try:
                self.socket.connect(path)
                break
            except OSError:
                time.sleep(0.05)
        self.lines = self.socket.makefile("r")
        self.events = []
        self.read()
        self.call("qmp_capabilities")

    def close(self):
        """The daemon speaks with one at a time."""
        self.lines.close()
        self.socket.close()

    def read(self):
        return json.loads(self.lines.readline())

    def call(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = self.read()
            if "error" in answer:
                sys.exit(f"qemu-storage-daemon: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return
            self.events.append(answer)

    def wait_for(self, event_name, **data):
        """The first event of that name with that data, past or to come."""
        while True:
            event = self.events.pop(0) if self.events else self.read()
            if event.get("event") == event_name and data.items() <= event["data"].items():
                return
            if event.get("data", {}).get("status") == "aborting":
                sys.exit("qemu-storage-daemon: the backup failed")


def backup_by_bitmap(monitor_path):
    """One backup of what a bitmap says has changed; this file runs as a process of its own for it, to be measured."""
    monitor = Monitor(monitor_path)
    monitor.call("blockdev-backup", **{"job-id": "backup", "device": "disk", "target": "target", "sync": "incremental",
                                       "bitmap": "changed", "compress": True, "auto-dismiss": False})
    monitor.wait_for("JOB_STATUS_CHANGE", id="backup", status="concluded")
    monitor.call("blockdev-del", **{"node-name": "target"})


def cpu_of(pid):
    def seconds():
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            words = file.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / TICK

    return seconds


def qemu(figures, disks):
    """The day is written through QEMU, whose bitmap remembers where; then it copies that to a compressed qcow2."""
    subprocess.run(["cp", "--sparse=always", disks.v1, "disk.raw"], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", "target.qcow2",
                    str(os.path.getsize(disks.v1))], check=True)
    with open("window", "wb"):
        pass
    daemon = subprocess.Popen(["qemu-storage-daemon", "--blockdev", "driver=raw,node-name=disk,file.driver=file,"
                               "file.filename=disk.raw", "--blockdev", "driver=qcow2,node-name=target,file.driver=file,"
                               "file.filename=target.qcow2", "--chardev", "socket,id=m,path=qmp,server=on,wait=off",
                               "--monitor", "chardev=m"])
    try:
        monitor = Monitor("qmp")
        monitor.call("block-dirty-bitmap-add", node="disk", name="changed")
        monitor.call("block-export-add", type="fuse", id="e", mountpoint=os.path.abspath("window"), writable=True,
                     **{"node-name": "disk"})
        write_the_day(disks, "window")
        monitor.call("block-export-del", id="e")
        monitor.wait_for("BLOCK_EXPORT_DELETED")
        monitor.close()
        before = folder_bytes("target.qcow2")
        figures.run("qemu", "backup", [sys.executable, os.path.abspath(__file__), "qmp"],
                    lambda _: folder_bytes("target.qcow2") - before, cpu_of(daemon.pid))
    finally:
        daemon.terminate()
        daemon.wait()
    subprocess.run(["qemu-img", "rebase", "-q", "-u", "-b", disks.v1, "-F", "raw", "target.qcow2"], check=True)
    if subprocess.run(["qemu-img", "compare", "-q", "target.qcow2", disks.day], check=False).returncode:
        sys.exit("the backup by QEMU is not the day's disk")


def write_the_day(disks, path):
    with open(disks.changes, encoding="ascii") as file, open(disks.day, "rb") as day, open(path, "r+b", 0) as to:
        for first, count in (tuple(int(word) for word in line.split()) for line in file):
            for part in range(0, count, 64):
                blocks = min(64, count - part)
                os.pwrite(to.fileno(), os.pread(day.fileno(), blocks * 4096, (first + part) * 4096), (first + part) * 4096)
        os.fsync(to.fileno())


if __name__ == "__main__":
    backup_by_bitmap(sys.argv[1])

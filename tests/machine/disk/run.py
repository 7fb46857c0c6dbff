#!/usr/bin/env python3
"""A plain QEMU boots a published version from a store, through the nbdkit plugin and through bulkhead-blk, while its
blocks arrive; what it writes is there at the next boot, also after the backend was killed. Prints TAP."""
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import pc  # noqa: E402
import quick  # noqa: E402
import initrd as ramdisk  # noqa: E402  image/initrd.py: pc has put image/ on the path

BUILD = quick.build_folder()
SECONDS = int(os.environ.get("DISK_SECONDS", "600"))
number = failures = 0


def report(wrong, name):
    global number, failures
    number += 1
    failures += bool(wrong)
    print(f"{'not ok' if wrong else 'ok'} {number} - {name}" + (f"\n# {wrong}" if wrong else ""), flush=True)


def make_disk(folder):
    """A small system disk: busybox, /init, and 24 MiB of files with their sums."""
    tree = os.path.join(folder, "tree")
    for name in ("bin", "proc", "sys", "dev", "files"):
        os.makedirs(os.path.join(tree, name))
    shutil.copy("/bin/busybox", os.path.join(tree, "bin/busybox"))
    shutil.copy(os.path.join(HERE, "disk-init"), os.path.join(tree, "init"))
    os.chmod(os.path.join(tree, "init"), 0o755)
    sums = []
    for i in range(24):
        data = hashlib.shake_256(bytes([i])).digest(512 << 10) + b"text " * (512 << 10) * (i % 2)
        data = data[:1 << 20]
        with open(os.path.join(tree, f"files/{i}"), "wb") as file:
            file.write(data)
        sums.append(f"{hashlib.sha256(data).hexdigest()}  /files/{i}\n")
    with open(os.path.join(tree, "sums"), "w", encoding="ascii") as file:
        file.writelines(sums)
    disk = os.path.join(folder, "disk.raw")
    with open(disk, "wb") as file:
        file.truncate(96 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-d", tree, disk], check=True)
    return disk


def publish(folder, disk):
    bulkhead = os.path.join(BUILD, "cli/bulkhead")
    subprocess.run([bulkhead, "key", "new", "images", "--out", f"{folder}/images.key", "--no-passphrase"], check=True,
                   capture_output=True)
    subprocess.run([bulkhead, "store", "publish", disk, "disk 1", "--store", f"{folder}/store", "--domain-key",
                    f"{folder}/family", "--key", f"{folder}/images.key"], check=True, capture_output=True)
    with open(f"{folder}/key", "wb") as file:
        file.write(os.urandom(32))


def make_initrd(folder):
    tree = ramdisk.Initrd()
    tree.busybox()
    tree.modules(quick.kernel_folder(), ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"])
    tree.folder("root")
    tree.file("init", os.path.join(HERE, "init"), 0o755)
    return tree.write(os.path.join(folder, "initrd"))


class Backend:
    """A backend on a socket, with the state in `state`."""

    def __init__(self, kind, folder, state):
        self.socket = f"{folder}/{kind}.sock"
        common = {"state": state, "key": f"{folder}/key", "store": f"{folder}/store", "domain-key": f"{folder}/family",
                  "version": "disk 1"}
        if kind == "nbdkit":
            command = ["nbdkit", "--foreground", "-U", self.socket, f"{BUILD}/backends/bulkhead.so"]
            command += [f"{key}={value}" for key, value in common.items()]
            self.qemu = ["-blockdev", f"driver=nbd,node-name=d,server.type=unix,server.path={self.socket},discard=unmap",
                         "-device", "virtio-blk-pci,drive=d,serial=disk"]
        else:
            command = [f"{BUILD}/backends/bulkhead-blk", "--socket", self.socket, "--queues", "2", "--serial", "disk"]
            for key, value in common.items():
                command += [f"--{key}", value]
            self.qemu = ["-chardev", f"socket,id=c,path={self.socket},reconnect=1",
                         "-device", "vhost-user-blk-pci,chardev=c,num-queues=2"]
        self.command = command
        self.process = None
        self.qemu_process = None  # ends with a backend that nobody stopped: QEMU would wait for one for ever
        self.ended = None

    def start(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.process = subprocess.Popen(self.command)
        threading.Thread(target=self._watch, args=(self.process,), daemon=True).start()
        end = time.monotonic() + 60
        while not os.path.exists(self.socket):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.command[0]} did not start")
            time.sleep(0.05)

    def _watch(self, process):
        status = process.wait()
        if process is self.process:
            self.ended = f"the backend ended by itself, with status {status}"
            if self.qemu_process:
                self.qemu_process.kill()

    def stop(self, how=signal.SIGTERM):
        process, self.process = self.process, None
        process.send_signal(how)
        return process.wait(60)


def boot(backend, folder, initrd, killed_at=None):
    """Boots once; returns the guest's lines. `killed_at`: a line at which the backend is killed and started again."""
    command = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "256", "-smp", "2",
               "-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot",
               "-object", "memory-backend-memfd,id=m,size=256M,share=on", "-numa", "node,memdev=m",
               "-kernel", os.path.join(quick.kernel_folder(), "vmlinuz"), "-initrd", initrd,
               "-append", "console=ttyS0 panic=-1 quiet no_timer_check", *backend.qemu]
    lines = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          errors="replace") as qemu:
        backend.qemu_process = qemu
        timer = threading.Timer(SECONDS, qemu.kill)
        timer.start()
        if backend.ended:
            qemu.kill()
        for line in qemu.stdout:
            found = re.search(r"#DISK# (.*)", line.strip())
            if not found:
                continue
            lines.append(found.group(1))
            if killed_at and found.group(1).startswith(killed_at):
                backend.stop(signal.SIGKILL)
                backend.start()
                killed_at = None
        timer.cancel()
        backend.qemu_process = None
    return [*lines, backend.ended] if backend.ended else lines


def judge(lines, before=None):
    """What is wrong with a boot's lines; `before`: the sum that the boot before wrote."""
    if "ok files" not in lines or "end" not in lines:
        return f"the guest said {lines}"
    if "ok trim" not in lines:
        return f"no discard: {lines}"
    if "serial disk" not in lines:
        return f"another serial number: {lines}"
    found = [line.split()[1] for line in lines if line.startswith("found ")]
    return "" if found == ([before] if before else []) else f"found {found}, expected {before}"


def written(lines):
    return next((line.split()[1] for line in lines if line.startswith("wrote ")), None)


def main():
    with tempfile.TemporaryDirectory() as folder:
        publish(folder, make_disk(folder))
        initrd = make_initrd(folder)
        for kind in ("nbdkit", "vhost-user"):
            backend = Backend(kind, folder, f"{folder}/state-{kind}")
            backend.start()
            first = boot(backend, folder, initrd)
            report(judge(first), f"disk.{kind}_boots_while_blocks_arrive")
            report("" if backend.stop() == 0 else "it failed", f"disk.{kind}_ends_cleanly")
            backend.start()
            second = boot(backend, folder, initrd, killed_at="ok files" if kind != "nbdkit" else None)
            name = "survives_its_backends_death" if kind != "nbdkit" else "keeps_what_was_written"
            report(judge(second, written(first)), f"disk.{kind}_{name}")
            backend.stop()
    print(f"1..{number}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""The emulated PC that every machine test, attack and benchmark runs on.

A `Pc` is a description (processors, memory, IOMMU, firmware, what to boot); `start()` turns it into one QEMU process
with its serial port captured. Always `-accel tcg`: the tests mean the emulated SVM, never the building machine's KVM.

    with Pc("hotplug", boot=Uefi({"EFI/BOOT/BOOTX64.EFI": path})) as pc:
        pc.start()
        pc.wait(r"^#BH# up ")

The serial log stays in the machine's work folder (`pc.log`); the last run's log is never deleted, so a failure can be
read afterwards. docs/testing.md has the whole picture.
"""
import contextlib
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import qmp

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "image"))
import disk  # noqa: E402  (image/ is not a package; it holds commands)

WORK = os.environ.get("MACHINE_WORK", os.path.join(ROOT, "out/machine"))
OVMF = os.environ.get("OVMF", "/usr/share/OVMF")
# Hosts differ a lot and share their cores; this is a limit against hanging, never a measurement.
SECONDS = float(os.environ.get("MACHINE_SECONDS", "300"))
ICOUNT = "shift=0,sleep=off"
PR_SET_PDEATHSIG = 1
# A program that draws its screen again and again ends no line: only what it drew last is looked at.
PROMPT_BYTES = 32768
_libc = ctypes.CDLL(None, use_errno=True)


class MachineError(Exception):
    """The PC did not do what the test waited for; the text says what, and where the serial log is."""


class Uefi:
    """Boot through OVMF from an ESP on the NVMe disk. `files` maps ESP paths to files of the building machine."""

    def __init__(self, files):
        self.files = files


class Direct:
    """Boot without firmware: QEMU loads a Linux bzImage, or a Multiboot or PVH kernel, itself."""

    def __init__(self, kernel, initrd=None, append=""):
        self.kernel, self.initrd, self.append = kernel, initrd, append


class Multiboot:
    """Boot without firmware: QEMU loads a Multiboot kernel with modules, "FILE ARGUMENTS" each."""

    def __init__(self, kernel, append, modules):
        self.kernel, self.append = kernel, append
        # QEMU separates modules by commas; one inside arguments is written twice.
        self.initrd = ",".join(module.replace(",", ",,") for module in modules)


class DiskImage:
    """Boot through OVMF from a ready-made disk image; the PC writes to a throw-away overlay of it."""

    def __init__(self, path):
        self.path = path


class Owned:
    """Boot through OVMF as a person's PC does: disk, firmware's variables and TPM lie in `folder` and stay there from
    start to start. A missing disk is made, empty. `stick`: an image that is plugged in as a USB stick, and not written.
    """

    def __init__(self, folder, size_mib=4608, stick=None):
        self.folder, self.size_mib, self.stick = folder, size_mib, stick
        os.makedirs(folder, exist_ok=True)
        self.disk, self.variables, self.tpm = (os.path.join(folder, name) for name in ("disk.img", "vars.fd", "tpm"))
        if not os.path.exists(self.disk):
            with open(self.disk, "wb") as file:
                file.truncate(size_mib << 20)


class Pc:
    """One emulated PC.

    name         names the work folder below out/machine
    boot         Uefi, Direct, DiskImage or Owned
    cpus         processors; `icount` needs 1 (Linux stalls in processor bring-up otherwise)
    parallel     processors run at the same time, a thread each, instead of in turns: for what only shows then. QEMU 7.2
                 breaks there, now and then: whatever processor restores FPU state rewrites, unguarded, the flags in
                 which the first processor notes whether it is inside a guest (cpu_clear_ignne). If that one enters or
                 leaves its guest meanwhile, it goes on as both.
    iommu        "amd", "intel" or None
    tpm          a fresh software TPM, answered by swtpm
    variables    firmware's variable store to start with, for instance with keys enrolled (keys.py)
    icount       QEMU's -icount value: one instruction is one virtual nanosecond, two runs are equal
    scratch_mib  size of an empty NVMe disk for tests that write, after the one that boots (0: none)
    null_disk    an NVMe disk after those that keeps nothing and answers in no time
    reboots      let the PC reset instead of ending QEMU at the first reset
    smm          system management mode, as QEMU's PC has it unless told otherwise
    forwards     {"10.0.2.100:8443": program}: what a connection to this address inside talks to
    debugger     QEMU's debugger port, as a Unix socket `gdb` in the machine's folder (gdb.py)
    extra        more QEMU arguments
    """

    def __init__(self, name, boot, *, cpus=2, parallel=False, memory_mib=2048, iommu="amd", tpm=False, variables=None,
                 icount=None, scratch_mib=64, null_disk=False, reboots=False, network=True, cpu="EPYC,+svm", smm=False,
                 debugger=False, forwards=None, extra=()):
        self.name, self.boot, self.cpus, self.parallel, self.memory_mib = name, boot, cpus, parallel, memory_mib
        self.iommu, self.tpm, self.variables, self.icount = iommu, tpm, variables, icount
        self.scratch_mib, self.null_disk, self.reboots = scratch_mib, null_disk, reboots
        self.network, self.cpu, self.smm, self.debugger = network, cpu, smm, debugger
        self.forwards = forwards or {}
        self.extra = list(extra)
        self.folder = os.path.join(WORK, name)
        self.log = os.path.join(self.folder, "serial.log")
        self.lines = []
        self.process = self.tpm_process = self._qmp = self._log_file = None
        self._partial = b""
        self._seen = 0

    # --- life cycle -------------------------------------------------------------------------------------------

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.stop()

    def start(self):
        """Powers the PC on. Everything it needs is made anew in its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        if self.tpm:
            self._start_tpm()
        command = self._command()
        with open(os.path.join(self.folder, "command"), "w", encoding="utf-8") as file:
            file.write(" ".join(command) + "\n")
        self._log_file = open(self.log, "wb", buffering=0)
        self._errors = open(os.path.join(self.folder, "qemu.log"), "wb", buffering=0)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                                        preexec_fn=_die_with_parent)
        os.set_blocking(self.process.stdout.fileno(), False)
        return self

    def stop(self):
        """Pulls the plug. Safe to call again."""
        for process in (self.process, self.tpm_process):
            if process and process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if self._qmp:
            self._qmp.close()
            self._qmp = None
        if self.process:
            self.read(0)
            with contextlib.suppress(BrokenPipeError):  # what was typed last may not have got there
                self.process.stdin.close()
            self.process.stdout.close()
            self._log_file.close()
            self._errors.close()
            self.process = None
        for name in ("disk.img", "overlay.qcow2", "scratch.img", "vars.fd"):
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                os.unlink(path)

    # --- watching and pressing buttons ------------------------------------------------------------------------

    def wait(self, pattern, seconds=SECONDS, also=None, prompt=False):
        """Returns the match of the first new serial line that `pattern` (a regular expression) is found in; with
        `prompt` also in what stands after the last line's end.

        Lines before that are consumed; each is given to `also(line)` if there is one. Raises MachineError if the PC
        ends, panics or says nothing of the kind within `seconds`.
        """
        wanted = re.compile(pattern)
        deadline = time.monotonic() + seconds
        while True:
            while self._seen < len(self.lines):
                line = self.lines[self._seen]
                self._seen += 1
                found = wanted.search(line)
                if found:
                    return found
                if also:
                    also(line)
            found = prompt and wanted.search(_clean(self._partial[-PROMPT_BYTES:]))
            if found:
                self._partial = b""
                return found
            if not self.read(min(1.0, max(0.0, deadline - time.monotonic()))):
                if self._seen < len(self.lines):
                    continue
                raise self._failure(f"ended (status {self.process.wait()}) before '{pattern}'")
            if time.monotonic() > deadline:
                raise self._failure(f"no '{pattern}' within {seconds:.0f} s")

    def wait_end(self, seconds=SECONDS):
        """Waits for QEMU to end (power off, or reset without `reboots`); returns its exit status."""
        deadline = time.monotonic() + seconds
        while self.read(1.0):
            if time.monotonic() > deadline:
                raise self._failure(f"still running after {seconds:.0f} s")
        return self.process.wait()

    def send(self, text):
        """Types `text` into the serial port."""
        try:
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._failure(f"ended (status {self.process.wait()}) before it was told '{text.strip()}'") from None

    @property
    def qmp(self):
        if not self._qmp:
            self._qmp = qmp.Qmp(os.path.join(self.folder, "qmp"))
        return self._qmp

    def text(self):
        """All serial lines so far, as one string."""
        return "\n".join(self.lines)

    # --- inside -----------------------------------------------------------------------------------------------

    def _failure(self, what):
        tail = "\n".join(f"    {line}" for line in self.lines[-15:])
        return MachineError(f"{self.name}: {what}; serial log: {self.log}; its end:\n{tail}")

    def read(self, seconds):
        """Takes what the serial port has to say; False once QEMU has closed it."""
        stream = self.process.stdout.fileno()
        ready, _, _ = select.select([stream], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(stream, 1 << 16)
        except BlockingIOError:
            return True
        self._log_file.write(data)
        pieces = (self._partial + data).split(b"\n")
        self._partial = pieces.pop()
        if not data and self._partial:
            pieces.append(self._partial)
            self._partial = b""
        self.lines += [_clean(piece) for piece in pieces]
        return bool(data)

    def _start_tpm(self):
        state = self.boot.tpm if isinstance(self.boot, Owned) else os.path.join(self.folder, "tpm")
        if not os.path.isdir(state):
            os.makedirs(state)
            subprocess.run(["swtpm_setup", "--tpm2", "--tpmstate", state, "--create-ek-cert", "--overwrite"],
                           check=True, stdout=subprocess.DEVNULL)
        self.tpm_process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--ctrl",
             f"type=unixio,path={self.folder}/tpm.sock", "--flags", "not-need-init"], preexec_fn=_die_with_parent)

    def _command(self):
        machine = f"q35,smm={'on' if self.smm else 'off'}"
        # A GiB of translated code, QEMU's own choice, is more than a host of 8 GiB can spare for each of two PCs.
        accelerator = f"tcg,thread={'multi' if self.parallel else 'single'},tb-size=512"
        command = ["qemu-system-x86_64", "-name", f"bulkhead-{self.name}", "-machine", machine, "-accel", accelerator,
                   "-cpu", self.cpu, "-smp", str(self.cpus), "-m", str(self.memory_mib), "-nodefaults",
                   "-display", "none", "-serial", "stdio", "-monitor", "none",
                   "-qmp", f"unix:{self.folder}/qmp,server=on,wait=off"]
        if self.debugger:
            command += ["-gdb", f"unix:{self.folder}/gdb,server=on,wait=off"]
        if not self.reboots:
            command += ["-no-reboot"]
        if self.icount:
            command += ["-icount", self.icount, "-rtc", "base=2026-01-01T00:00:00,clock=vm", "-seed", "1"]
        # The IOMMU must be the first device: QEMU builds its tables for the devices that come after it.
        if self.iommu:
            command += ["-device", f"{self.iommu}-iommu,intremap=on"]
        command += self._boot_arguments()
        if self.scratch_mib:
            scratch = os.path.join(self.folder, "scratch.img")
            with open(scratch, "wb") as file:
                file.truncate(self.scratch_mib << 20)
            command += self._nvme("scratch", scratch, "raw")
        if self.null_disk:
            # Completes at once, without a thread of the host: with instruction counting two runs are equal.
            command += ["-blockdev", f"driver=null-co,size={64 << 20},read-zeroes=on,node-name=null",
                        "-device", "nvme,drive=null,serial=null"]
        if self.network:
            # QEMU's own network: nothing but what is forwarded, a program for each connection, gets out.
            forwards = "".join(f",guestfwd=tcp:{address}-cmd:{program}" for address, program in self.forwards.items())
            command += ["-netdev", f"user,id=net,restrict=on{forwards}", "-device", "e1000e,netdev=net"]
        command += ["-device", "qemu-xhci", "-device", "usb-kbd", "-device", "usb-tablet"]
        if isinstance(self.boot, Owned) and self.boot.stick:
            command += ["-drive", f"if=none,id=stick,format=raw,snapshot=on,file={self.boot.stick}",
                        "-device", "usb-storage,drive=stick,removable=on"]
        if self.tpm:
            command += ["-chardev", f"socket,id=tpm,path={self.folder}/tpm.sock",
                        "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]
        return command + self.extra

    def _boot_arguments(self):
        if isinstance(self.boot, (Direct, Multiboot)):
            command = ["-kernel", self.boot.kernel, "-append", self.boot.append]
            return command + (["-initrd", self.boot.initrd] if self.boot.initrd else [])
        owned = isinstance(self.boot, Owned)
        variables = self.boot.variables if owned else os.path.join(self.folder, "vars.fd")
        if not (owned and os.path.exists(variables)):
            shutil.copyfile(self.variables or os.path.join(OVMF, "OVMF_VARS_4M.fd"), variables)
        command = ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={OVMF}/OVMF_CODE_4M.fd",
                   "-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
        if isinstance(self.boot, DiskImage):
            overlay = os.path.join(self.folder, "overlay.qcow2")
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
                            os.path.abspath(self.boot.path), overlay], check=True)
            return command + self._nvme("disk", overlay, "qcow2")
        if owned:
            return command + self._nvme("disk", self.boot.disk, "raw")
        image = disk.esp_disk(os.path.join(self.folder, "disk.img"), self.boot.files)
        return command + self._nvme("disk", image, "raw")

    @staticmethod
    def _nvme(name, path, form):
        return ["-drive", f"if=none,id={name},format={form},file={path},cache=unsafe,discard=unmap",
                "-device", f"nvme,drive={name},serial={name}"]


def _clean(line):
    """A serial line without carriage returns and terminal escapes (the firmware paints the screen)."""
    text = line.decode("utf-8", "replace").rstrip("\r")
    return re.sub(r"\x1b\[[0-9;=?]*[A-Za-z]", "", text)


def _die_with_parent():
    """In the child: QEMU must not outlive a test that was killed."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

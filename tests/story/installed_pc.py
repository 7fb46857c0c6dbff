"""A PC that ./install-image's medium put Bulkhead on: made from nothing, started, told what to do by the root shell on its
serial port. Its disk, firmware's variables and TPM stay from start to start. Used by story tests and ./demo.
"""
import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests/machine"), os.path.join(ROOT, "tests/attack")]
import pc as machine  # noqa: E402
from quick import TIMER  # noqa: E402
from company import Failure  # noqa: E402

SERVER = "10.0.2.100:8443"  # where the PC finds the server; QEMU hands each connection to the one on loopback
SECONDS = 900               # limits against hanging only
SMALL = ["slot-mib=256", "esp-mib=160"]
BASE = os.path.join(ROOT, "out/story/installed")  # a PC as the installer leaves it, and the platform key of its updates


def make_image(folder, release, *, answers=(), update=None, append="", words=()):
    """Runs ./install-image; returns the medium's path."""
    medium = os.path.join(folder, f"medium-{release}.img")
    command = [os.path.join(ROOT, "install-image"), "--output", medium, "--release", str(release), "--console", "serial",
               "--platform-key", os.path.join(folder, "platform.key"),
               f"--append=bulkhead.console {TIMER} {append}".rstrip(), *words]
    for answer in answers:
        command += ["--answer", answer]
    if update:
        command += ["--update", update]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"./install-image: {done.stderr[-1000:]}")
    return medium


class InstalledPc:
    """One PC with a disk, a TPM and firmware of its own, from its first start with the medium on."""

    def __init__(self, folder, name, port=None, memory_mib=2048, disk_mib=4608, variables=None, devices=(),
                 scratch_mib=0):
        """`variables`: of its firmware at the first start, for instance with keys of Secure Boot enrolled (keys.py);
        `devices`: more words for QEMU; `scratch_mib`: of a second disk, empty at each start, scratch() here."""
        self.variables, self.devices, self.scratch_mib = variables, list(devices), scratch_mib
        self.folder, self.name, self.memory_mib, self.disk_mib = os.path.join(folder, name), name, memory_mib, disk_mib
        self.forwards = {SERVER: f"busybox nc 127.0.0.1 {port}"} if port else {}
        self.recovery = self.pc = None

    def power_on(self, *, stick=None, disc=None, more_disks=(), reboots=True):
        """`stick`, `disc`: a medium to start from, as a USB stick or in a CD-ROM drive; `more_disks`: files that are plugged in
        as disks /dev/nvme1n1 and on, and not written."""
        extra = self.devices + [word for i, disk in enumerate(more_disks) for word in (
            "-drive", f"if=none,id=more{i},format=raw,snapshot=on,file={disk}", "-device", f"nvme,drive=more{i},serial=more{i}")]
        extra += ["-cdrom", disc] if disc else []
        self.pc = machine.Pc(self.name, machine.Owned(self.folder, self.disk_mib, stick), tpm=True, scratch_mib=self.scratch_mib,
                             reboots=reboots, memory_mib=self.memory_mib, variables=self.variables,
                             forwards=self.forwards, extra=extra)
        self.pc.start()
        return self.pc

    def install(self, medium, say=lambda line: None, drive="stick"):
        """Starts from the medium, which asks nothing, as a stick or as a disc, and ends when the PC goes off."""
        pc = self.power_on(**{drive: medium}, reboots=False)
        pc.wait(r"installer$", SECONDS)
        found = pc.wait(r"^Installed on (\S+)\.|Installing failed", SECONDS, also=lambda line: say(line) if line.strip() else None)
        if not found.group(1):
            raise Failure(f"the installer failed; serial log: {pc.log}")
        self.recovery = pc.wait(r"^    ((?:[a-z2-7]{4} ){7}[a-z2-7]{4})", SECONDS).group(1)
        pc.wait_end(SECONDS)
        pc.stop()

    def start(self, **more):
        """Starts from its own disk, up to a root shell."""
        self.power_on(**more)
        self.shell()

    def shell(self):
        """Waits for the shell; whoever asks for the recovery key has failed."""
        if "Recovery" in self.pc.wait(r"#BH# |Recovery key", SECONDS, prompt=True).group(0):
            raise Failure(f"the TPM did not open the data partition; serial log: {self.pc.log}")

    def enrol(self, company, user, name):
        """Enrols it as whoever sits at it would."""
        self.run("until [ -S /run/bulkhead/agent ]; do sleep 1; done")
        self.run(f"echo '{company.token(user, f'https://{SERVER}')}' | bulkhead enrol --name {name}")

    def ask(self, command):
        """Runs a command on the PC; returns its status and what it said."""
        self.pc.send(f"echo BE''GAN; {command}; echo ST''ATUS=$?\n")
        lines = []
        self.pc.wait(r"BEGAN$", SECONDS)
        status = self.pc.wait(r"STATUS=(\d+)", SECONDS, also=lines.append).group(1)
        return int(status), "\n".join(lines)

    def run(self, command):
        """Runs a command on the PC; returns its lines. Raises Failure unless it ends well."""
        status, text = self.ask(command)
        if status != 0:
            raise Failure(f"{command}: status {status}; serial log: {self.pc.log}:\n{text[-800:]}")
        return text

    def restart(self):
        self.pc.send("systemctl reboot\n")
        self.pc.wait(r"BdsDxe: starting", SECONDS)
        self.shell()

    def scratch(self):
        return os.path.join(self.pc.folder, "scratch.img")

    def power_off(self):
        if self.pc:
            self.pc.stop()

    stop = power_off


def base():
    """A PC on which the installer's medium has put release 1 and which was not started since; made anew only when the
    medium differs. Its folder."""
    os.makedirs(BASE, exist_ok=True)
    medium = make_image(BASE, 1, answers=[*SMALL, "unattended=yes", "after=poweroff"])
    with open(medium, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    state, folder = os.path.join(BASE, "state"), os.path.join(BASE, "pc")
    if os.path.exists(state) and open(state, encoding="ascii").read() == digest:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    InstalledPc(BASE, "pc").install(medium)
    with open(state, "w", encoding="ascii") as file:
        file.write(digest)
    return folder


def installed(folder, name, port=None, **more):
    """A PC like the one in base(), with its own copy of disk, firmware's variables and TPM. `more`: as InstalledPc takes it."""
    subprocess.run(["cp", "-a", "--sparse=always", "--reflink=auto", base(), os.path.join(folder, name)], check=True)
    return InstalledPc(folder, name, port, **more)

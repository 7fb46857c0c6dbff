"""A PC from nothing: the installer's medium puts Bulkhead on an empty disk, the PC starts from it, enrols with a token at
a server on its (emulated) network, takes a new system into its other slot, and comes back by itself from a broken one.

Used by ./demo and by suite story; each step is a function of the `Pc` that the steps share.
"""
import hashlib
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests/machine"), os.path.join(ROOT, "tests/attack")]
import pc as machine  # noqa: E402
from quick import TIMER  # noqa: E402
from company import Company, Failure, tell, wait_for  # noqa: E402

SERVER = "10.0.2.100:8443"  # where the PC finds the server; QEMU hands each connection to the one on loopback
SECONDS = 900               # limits against hanging only
SMALL = ["slot-mib=256", "esp-mib=160"]
# A system whose kernel finds no first process: what a bad release looks like to firmware.
BROKEN = "rdinit=/none panic=5"


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

    def __init__(self, folder, name, port=None, memory_mib=2048):
        self.folder, self.name, self.memory_mib = os.path.join(folder, name), name, memory_mib
        self.forwards = {SERVER: f"busybox nc 127.0.0.1 {port}"} if port else {}
        self.recovery = self.pc = None

    def power_on(self, *, stick=None, more_disk=None, reboots=True):
        extra = []
        if more_disk:
            extra = ["-drive", f"if=none,id=more,format=raw,snapshot=on,file={more_disk}", "-device", "nvme,drive=more,serial=more"]
        self.pc = machine.Pc(self.name, machine.Owned(self.folder, stick=stick), tpm=True, scratch_mib=0, reboots=reboots,
                             memory_mib=self.memory_mib, forwards=self.forwards, extra=extra)
        self.pc.start()
        return self.pc

    def install(self, medium, say=lambda line: None):
        """Starts from the medium, which asks nothing, and ends when the PC goes off."""
        pc = self.power_on(stick=medium, reboots=False)
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

    def run(self, command):
        """Runs a command on the PC; returns its lines. Raises Failure unless it ends well."""
        self.pc.send(f"{command}; echo ST''ATUS=$?\n")
        lines = []
        status = self.pc.wait(r"STATUS=(\d+)", SECONDS, also=lines.append).group(1)
        text = "\n".join(lines)
        if status != "0":
            raise Failure(f"{command}: status {status}; serial log: {self.pc.log}:\n{text[-800:]}")
        return text

    def restart(self):
        self.pc.send("systemctl reboot\n")
        self.pc.wait(r"BdsDxe: starting", SECONDS)
        self.shell()

    def power_off(self):
        if self.pc:
            self.pc.stop()

    stop = power_off


def damaged(source, target, offset):
    """A copy of `source` with one bit changed at `offset`."""
    with open(source, "rb") as file:
        data = bytearray(file.read())
    data[offset] ^= 1
    with open(target, "wb") as file:
        file.write(data)
    return target


def holds(path, needle):
    """Whether a raw disk holds these bytes."""
    return subprocess.run(["grep", "-qaF", needle, path], check=False).returncode == 0


def pc_is_installed_enrols_updates_and_falls_back(directory, keep):
    company = Company(directory, names=(SERVER.split(":")[0],))
    keep(company)
    company.admin("user", "add", "alice")
    token = company.token("alice", f"https://{SERVER}")
    pc = InstalledPc(directory, "installed", company.port)
    keep(pc)
    words = sys.argv[1:]
    medium = make_image(directory, 1, words=words, answers=[*SMALL, "unattended=yes", f"token={token}", "name=laptop", "after=poweroff"])
    update, broken = (os.path.join(directory, f"release-{n}.update") for n in (2, 3))
    make_image(directory, 2, update=update, words=words)
    make_image(directory, 3, update=broken, append=BROKEN, words=words)
    pc.install(medium, lambda line: print(f"# {line}", flush=True))

    # Its own disk: opened by the TPM, enrolled by the token, which is then gone.
    pc.start(more_disk=damaged(update, os.path.join(directory, "damaged"), os.path.getsize(update) // 2))
    assert re.search(r"running +slot a, release 1", pc.run("bulkhead-slot status")), "slot a should run"
    wait_for("the PC at the server", lambda: "laptop" in company.admin("device", "list", "--json"), SECONDS)
    report = wait_for("its report", lambda: company.device("laptop").get("report"), SECONDS)
    assert report["enforcement"] == "tpm", report
    pc.run("while [ -e /var/lib/bulkhead/enrol-token ]; do sleep 1; done")
    secret = hashlib.sha256(directory.encode()).hexdigest()
    pc.run(f"echo {secret} >/var/lib/secret; sync")

    # A damaged update is refused and leaves the running system alone; then the right one, tried and kept.
    pc.pc.send("bulkhead-slot update /dev/nvme1n1; echo ST''ATUS=$?\n")
    assert pc.pc.wait(r"STATUS=(\d+)", SECONDS).group(1) == "1", "a damaged update was taken"
    pc.power_off()
    assert not holds(pc.folder + "/disk.img", secret), "the raw disk holds what lies on the data partition"
    assert holds(pc.folder + "/disk.img", "bulkhead-tpm"), "the search itself does not find what is there"
    pc.start(more_disk=update)
    assert re.search(r"running +slot a, release 1", pc.run("bulkhead-slot status"))
    pc.run("bulkhead-slot update /dev/nvme1n1")
    pc.restart()
    pc.run("systemctl is-active bulkhead-confirm || systemctl start --wait bulkhead-confirm; while [ -e /var/lib/bulkhead/slots/trial ]; do sleep 1; done")
    status = pc.run("bulkhead-slot status")
    assert re.search(r"running +slot b, release 2", status) and re.search(r"starts +slot b", status), status
    pc.power_off()

    # A release that does not come up: the next start is the one before, by itself.
    pc.start(more_disk=broken)
    pc.run("bulkhead-slot update /dev/nvme1n1")
    pc.pc.send("systemctl reboot\n")
    pc.pc.wait(r"Kernel panic", SECONDS)
    pc.shell()
    pc.run("systemctl start --wait bulkhead-confirm")
    status = pc.run("bulkhead-slot status")
    assert re.search(r"running +slot b, release 2", status) and "did not come up   slot a 3" in status, status
    assert secret in pc.run("cat /var/lib/secret"), "data did not survive"
    print("# " + "\n# ".join(status.splitlines()))


if __name__ == "__main__":
    tell([pc_is_installed_enrols_updates_and_falls_back])

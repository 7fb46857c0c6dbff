"""The main job on an installed PC: it fetches a machine over mutual TLS, and its agent starts it under Bulkhead: from
firmware, protected, its disks served by bulkhead-blk through the relay, measured as the company described it. A version
that measures otherwise never runs. See installed.py.
"""
import json
import os
import re
import subprocess
import sys
import tarfile

from company import BUILD, Company, wait_for
from installed_pc import ROOT, SECONDS, SERVER, SMALL, InstalledPc, make_image
sys.path.insert(0, os.path.join(ROOT, "image"))
import bootfile  # noqa: E402
import disk  # noqa: E402
import initrd as ramdisk  # noqa: E402
import quick  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
# Writes what a guest says on its console, until it ends. The product's own viewer wants a screen.
LISTEN = ("perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Peer => shift) or die \"$!\"; print while <$s>'")
LIST = "bulkhead guest list --json"
RUNNING = f"{LIST} | grep -q running"
CONSOLE = "/run/bulkhead/agent.guests/work/console"


def guest_disk(folder, version):
    """A system disk that firmware starts: kernel and initrd in one file on an EFI system partition."""
    tree = ramdisk.Initrd()
    tree.busybox()
    tree.modules(quick.kernel_folder(), ["virtio_pci", "virtio_blk"])
    tree.file("init", os.path.join(HERE, "installed-guest-init"), 0o755)
    tree.text("version", version + "\n")
    kernel = os.path.join(quick.kernel_folder(), "vmlinuz")
    uki = bootfile.unified_kernel(os.path.join(folder, f"{version}.efi"), kernel, tree.write(os.path.join(folder, "guest-initrd")),
                                  "console=ttyS0 panic=-1 quiet")
    return disk.esp_disk(os.path.join(folder, f"{version}.raw"), {"EFI/BOOT/BOOTX64.EFI": uki})


def firmware_of_the_pc(folder):
    """The lines of the PC's /etc/bulkhead/machine, with the very firmware that lies in its system."""
    with tarfile.open(os.path.join(ROOT, "out/image/base.tar")) as debian, open(os.path.join(folder, "OVMF.fd"), "wb") as file:
        file.write(debian.extractfile("./usr/share/ovmf/OVMF.fd").read())
    return platform(folder, f"firmware = {folder}/OVMF.fd\n")


def platform(folder, lines):
    path = os.path.join(folder, "machine")
    with open(path, "w", encoding="utf-8") as file:
        file.write(lines)
    return path


def publish(company, folder, version, machine):
    """Publishes a version that is described as what `machine`'s lines boot."""
    descriptor = os.path.join(folder, f"{version}.descriptor")
    company.admin("image", "describe", descriptor, "--memory", "256M", "--processors", "1", "--machine", machine, "--monitor",
                  os.path.join(BUILD, "monitor/monitor"), "--key", company.key("images.key"))
    company.admin("image", "publish", guest_disk(folder, version), "--name", "work", "--version", version, "--key",
                  company.key("images.key"), "--descriptor", descriptor)


def start(pc, release):
    """Starts the guest's release; returns the hypervisor's guests, what it said on its console, and how its monitor ended."""
    pc.run(f"until {LIST} | grep -Eq '\"release\": *{release},'; do sleep 1; done")
    pc.run("bulkhead guest start work")
    pc.run(f"until [ -S {CONSOLE} ] || ! {RUNNING}; do sleep 1; done")
    text = pc.run("bulkhead status --json")
    guests = json.loads(text[text.index("{"):text.rindex("}") + 1])["guests"]
    said = pc.run(f"{LISTEN} {CONSOLE}")
    ended = pc.run("until journalctl -u bulkhead-agent -o cat -n 50 | grep guest.ended | tail -1 | grep -n ."
                   "; do sleep 1; done")
    return guests, said, int(re.search(r'"status":\s*(\d+)', ended).group(1))


def protected_guest_runs_as_described(directory, keep):
    company = Company(directory, names=(SERVER.split(":")[0],))
    keep(company)
    company.admin("user", "add", "alice")
    token = company.token("alice", f"https://{SERVER}")
    pc = InstalledPc(directory, "installed-guest", company.port)
    keep(pc)
    medium = make_image(directory, 1, answers=[*SMALL, "unattended=yes", f"token={token}", "name=laptop", "after=poweroff"])
    publish(company, directory, "one", firmware_of_the_pc(directory))
    company.admin("assign", "work", "--user", "alice")
    pc.install(medium)
    pc.start()
    pc.run("systemctl stop bulkhead-screen")  # the person's screen reads guests' consoles, which speak to one reader
    guests, said, status = start(pc, 1)
    lines = re.findall(r"#STORY# (.*)", said)
    print("# " + "\n# ".join(lines), flush=True)
    assert status == 0 and lines == ["version one", "user disk keeps what was written", "configuration disk CIDATA", "off"], \
        (status, said[-3000:])
    assert len(guests) == 1 and guests[0]["protected"] and guests[0]["state"] == "ready", guests

    # A version whose descriptor, properly signed, names another machine: the monitor ends it before its first instruction.
    kernel = os.path.join(quick.kernel_folder(), "vmlinuz")
    publish(company, directory, "two", platform(directory, f"kernel = {kernel}\n"))
    pc.run(f"until {LIST} | grep -Eq '\"release\": *2,'; do sleep 1; done; bulkhead guest start work")
    pc.run(f"while {RUNNING}; do sleep 1; done")
    why = pc.run("cat /run/bulkhead/agent.guests/work/monitor.log")
    assert "is not the one its descriptor" in why, why

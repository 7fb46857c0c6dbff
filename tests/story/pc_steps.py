"""The PC of ./demo: an emulated one with firmware, TPM, IOMMU and a disk, on which our installer puts Bulkhead; it enrols
over its network and starts the work machine, by its own firmware and sealed, while that is still arriving.

`installed_pc.py` drives the PC over its serial port, on which the medium of a lab leaves a root shell.
"""
import json
import os
import re

import installed_pc
from company import wait_for
from fleet_steps import Fleet, guarded

LOG_IN = "user"     # the image's person, image/guest/customize
LINE_KIB = 1024     # a second: a line slow enough for the guest to be faster than its image
MEMORY_MIB = 4608   # of the PC: two machines and the service domain
DISK_MIB = 12288
TO_OVERVIEW = "\x1b[24~"
LEAVE = "q"


class Shown:
    """What the steps share."""
    pc = None


@guarded
def install(say):
    """Makes the installer's medium with a one-time token on it, and lets it put Bulkhead on an empty disk."""
    company = Fleet.company
    company.admin("user", "add", "bob")
    token = company.token("bob", f"https://{installed_pc.SERVER}")
    Shown.pc = installed_pc.InstalledPc(company.directory, "pc", company.port, memory_mib=MEMORY_MIB, disk_mib=DISK_MIB)
    medium = installed_pc.make_image(company.directory, 1, answers=[
        *installed_pc.SMALL, "unattended=yes", f"token={token}", "name=pc", "after=poweroff"])
    say(f"the medium: {os.path.getsize(medium) >> 20} MiB, unattended")
    Shown.pc.install(medium)
    say(f"installed; the recovery key was shown once: {Shown.pc.recovery[:9]} …")
    return os.path.getsize(medium)


def fetched(pc):
    """Bytes of packs that the PC holds; a pack has its whole length from the first block on."""
    text = pc.run("find /var/lib/bulkhead/agent -name '*.pack' -printf '%b\\n'")
    return 512 * sum(int(line) for line in text.split() if line.isdigit())


@guarded
def work(say):
    """The PC starts from its disk, enrols, and the work machine boots to its log-in prompt while it arrives."""
    pc = Shown.pc
    company = Fleet.company
    company.admin("policy", "set", "bandwidth_kib", str(LINE_KIB), "--user", "bob", "--key", company.key("policy.key"))
    company.admin("assign", "work", "--user", "bob")
    pc.start()
    for line in pc.run("bulkhead status").splitlines():
        if re.match(r"(protected|not protected|  )", line):
            say(line)
    wait_for("the PC at the server", lambda: any(device["name"] == "pc" for device in json.loads(
        company.admin("device", "list", "--json"))), installed_pc.SECONDS)
    pc.run("until bulkhead guest start work; do sleep 1; done")  # as soon as its first blocks are there
    at_start = fetched(pc)
    pc.run("systemctl stop bulkhead-screen")  # guests' consoles speak to one reader: here the serial port's
    pc.pc.send("bulkhead console\n")
    pc.pc.wait(r"IN FRONT", installed_pc.SECONDS, prompt=True)
    pc.pc.send("\x1b1")
    pc.pc.wait(r"login:", installed_pc.SECONDS, prompt=True)
    pc.pc.send(LOG_IN + "\n")
    pc.pc.wait(r"user@", installed_pc.SECONDS, prompt=True)
    pc.pc.send(TO_OVERVIEW)
    pc.pc.wait(r"IN FRONT: Bulkhead", installed_pc.SECONDS, prompt=True)
    pc.pc.send(LEAVE)
    pc.shell()
    at_login = fetched(pc)
    for line in pc.run("bulkhead status").splitlines():
        if re.search(r"guests'? |sealed|protected guest|given to guests", line):
            say(line.strip())
    say(f"at its prompt, a person logged in: {at_start:,} bytes had arrived when it was started, {at_login:,} by now")
    return at_login


INSTALL = [("Our installer puts Bulkhead on an empty PC", install)]
WORK = [("The PC enrols; the work machine boots there, sealed, while it arrives", work)]


def end():
    if Shown.pc:
        Shown.pc.power_off()

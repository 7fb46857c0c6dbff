"""The PC of ./demo: an emulated one with firmware, TPM, IOMMU and a disk, on which our installer puts Bulkhead; it enrols
over its network and starts the work machine, by its own firmware and sealed, while that is still arriving.

`installed_pc.py` drives the PC over its serial port, on which the medium of a lab leaves a root shell.
"""
import json
import os
import re

import installed_pc
import pc_secret
from company import Failure, wait_for
from fleet_steps import Fleet, debian, guarded, holds

OWN = "personal"    # the person's own machine
LOG_IN = "user"     # the image's person, image/guest/customize
LINE_KIB = 1024     # a second: a line slow enough for the guest to be faster than its image
MEMORY_MIB = 4608   # of the PC: two machines and the service domain
DISK_MIB = 12288
TO_OVERVIEW = "\x1b[24~"
LEAVE = "q"


class Shown:
    """What the steps share."""
    pc = None


class Console:
    """The person at the PC's console, which the serial port shows in place of the screen: a key, and what is seen then."""

    def __init__(self, pc):
        self.pc = pc

    def __enter__(self):
        self.pc.pc.send("bulkhead console\n")
        self.sees(r"IN FRONT")
        return self

    def __exit__(self, failure, *_):
        if not failure:
            self.types(TO_OVERVIEW)
            self.sees(r"IN FRONT: Bulkhead")
            self.types(LEAVE)
            self.pc.shell()

    def types(self, text):
        self.pc.pc.send(text)

    def sees(self, pattern):
        return self.pc.pc.wait(pattern, installed_pc.SECONDS, prompt=True)

    def front(self, number, guest, whose):
        """Presses the guest's key, and reads on the last line who gets the keys from now on."""
        self.types(f"\x1b{number}")
        self.sees(rf"IN FRONT: {guest} \({whose}\)")

    def log_in(self):
        """Returns the machine's own name, as its prompt says it."""
        self.sees(r"login:")
        self.types(LOG_IN + "\n")
        return self.sees(rf"{LOG_IN}@([\w.-]+)").group(1)

    def asks(self, line, pattern):
        """Types a line into the guest in front. `pattern` must not be found in the line itself."""
        self.types(line + "\n")
        return self.sees(pattern)


@guarded
def install(say):
    """Makes the installer's medium with a one-time token on it, and lets it put Bulkhead on an empty disk."""
    company = Fleet.company
    company.admin("user", "add", "bob")
    token = company.token("bob", f"https://{installed_pc.SERVER}")
    Shown.pc = installed_pc.InstalledPc(company.directory, "pc", company.port, memory_mib=MEMORY_MIB, disk_mib=DISK_MIB,
                                        devices=pc_secret.EDU)
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
    pc.start(more_disks=[debian("personal", ["--size", "1024", "--packages", "nano"]), pc_secret.tools(company.directory)])
    for line in pc.run("bulkhead status").splitlines():
        if re.match(r"(protected|not protected|  )", line):
            say(line)
    wait_for("the PC at the server", lambda: any(device["name"] == "pc" for device in json.loads(
        company.admin("device", "list", "--json"))), installed_pc.SECONDS)
    pc.run("until bulkhead guest start work; do sleep 1; done")  # as soon as its first blocks are there
    at_start = fetched(pc)
    pc.run("systemctl stop bulkhead-screen")  # guests' consoles speak to one reader: here the serial port's
    with Console(pc) as console:
        console.front(1, "work", "company's")
        console.log_in()
    at_login = fetched(pc)
    for line in pc.run("bulkhead status").splitlines():
        if re.search(r"guests'? |sealed|protected guest|given to guests", line):
            say(line.strip())
    say(f"at its prompt, a person logged in: {at_start:,} bytes had arrived when it was started, {at_login:,} by now")
    return at_login


def _heard_of(word):
    """Whether the server's files hold a word."""
    return bool(holds(os.path.join(Fleet.company.directory, "server"), word.encode()))


@guarded
def personal(say):
    """The person makes a machine of their own beside it, from a disk that they plug in; one key switches between both."""
    pc = Shown.pc
    pc.run("until bulkhead guest list --personal; do sleep 1; done")
    pc.run(f"bulkhead guest create {OWN} --personal --disk /dev/nvme1n1 --memory 512M --processors 1")
    pc.run(f"bulkhead guest start {OWN} --personal")
    with Console(pc) as console:
        console.front(2, OWN, "yours")
        own = console.log_in()
        console.asks("echo sum $((40 + 2))", "sum 42")
        console.front(1, "work", "company's")
        console.asks("echo sum $((50 + 3))", "sum 53")
        console.front(2, OWN, "yours")
        console.asks("echo sum $((60 + 4))", "sum 64")
    say(f"logged in to both; {own} is the person's own, from the same screen; its last line said each time who gets the keys")
    guests = pc_secret.protected_guests(pc)
    if len(guests) != 2:
        raise Failure(f"two sealed guests should run, not {guests}")
    for line in pc.run("bulkhead status | sed -n '/^GUEST/,/^$/p'").splitlines():
        row = re.match(r"(?:#BH# )?(GUEST.*|\s+\d.*)", line)  # not the echo of what was typed
        if row:
            say(row.group(1))
    if not _heard_of("work") or _heard_of(OWN):
        raise Failure(f"the server's files hold the name {OWN}, or not even that of the company's guest")
    say("the server's files name the company's machine and not the person's")
    return 0


@guarded
def secret(say):
    """A secret made inside the work machine is looked for in all memory that Linux reaches, and by a device."""
    pc_secret.step(Shown.pc, Console, OWN, say)
    return 0


INSTALL = [("Our installer puts Bulkhead on an empty PC", install)]
WORK = [("The PC enrols; the work machine boots there, sealed, while it arrives", work),
        ("Beside it the person's own machine, which the server never hears of; one key switches", personal),
        ("A secret made inside the work machine is looked for by Linux's kernel and by a device", secret)]


def end():
    if Shown.pc:
        Shown.pc.power_off()

"""The PC of ./demo: an emulated one with firmware, TPM, IOMMU and a disk, on which our installer puts Bulkhead; it enrols
over its network and starts the work machine, by its own firmware and sealed, while that is still arriving.

`installed_pc.py` drives the PC over its serial port, on which the medium of a lab leaves a root shell.
"""
import json
import os
import re
import threading
import time

import debian_images
import fleet_steps
import installed_pc
import pc_secret
from company import Failure, wait_for
from fleet_steps import Fleet, guarded, holds
from typed_pc import Console, TypedPc

OWN = "personal"    # the person's own machine
LINE_KIB = 1024     # a second: a line slow enough for the guest to be faster than its image
FASTER_KIB = 4096   # afterwards
MEMORY_MIB = 3584   # of the PC: two machines and the service domain
DISK_MIB = 12288
LOOK_SECONDS = 3    # between looks at what arrives: each is work for the PC, too
PLAIN_MIB = 1024    # of the unencrypted disk in the second PC, the control of looking for what the user wrote
RELEASES = "/var/lib/bulkhead/agent/images/work"
KEPT, NOTE = "kept", "bought-milk"  # a file of the person's in the work machine, and what they write there


class Shown:
    """What the steps share."""
    pc = second = None
    base = threading.Thread(target=installed_pc.base, daemon=True)  # installs what the second PC begins with, behind other steps


@guarded
def install(say):
    """Makes the installer's medium with a one-time token on it, and lets it put Bulkhead on an empty disk."""
    company = Fleet.company
    token = company.token("alice", f"https://{installed_pc.SERVER}")
    Shown.pc = installed_pc.InstalledPc(company.directory, "laptop", company.port, memory_mib=MEMORY_MIB, disk_mib=DISK_MIB,
                                        devices=pc_secret.EDU)
    medium = installed_pc.make_image(company.directory, 1, answers=[
        *installed_pc.SMALL, "unattended=yes", f"token={token}", "name=laptop", "after=poweroff"])
    say(f"the medium: {os.path.getsize(medium) >> 20} MiB, unattended")
    Shown.pc.install(medium)
    say(f"installed; the recovery key was shown once: {Shown.pc.recovery[:9]} …")
    Shown.base.start()
    return os.path.getsize(medium)


def fetched(pc):
    """Bytes of packs that the PC holds; a pack has its whole length from the first block on."""
    text = pc.run("find /var/lib/bulkhead/agent -name '*.pack' -printf '%b\\n'")
    return 512 * sum(int(line) for line in text.split() if line.isdigit())


def _set_line(kib):
    """How much a second the policy lets the user's PCs fetch."""
    Fleet.company.admin("policy", "set", "bandwidth_kib", str(kib), "--user", "alice", "--key", Fleet.company.key("policy.key"))


@guarded
def work(say):
    """The PC starts from its disk, enrols, and the work machine boots to its log-in prompt while it arrives."""
    pc = Shown.pc
    company = Fleet.company
    _set_line(LINE_KIB)
    Fleet.pc = TypedPc(pc, "laptop")
    pc.start(more_disks=[debian_images.get("personal", say), pc_secret.tools(company.directory)])
    for line in pc.run("bulkhead status").splitlines():
        if re.match(r"(protected|not protected|  )", line):
            say(line)
    wait_for("the PC at the server", lambda: any(device["name"] == "laptop" for device in json.loads(
        company.admin("device", "list", "--json"))), installed_pc.SECONDS)
    pc.run("until bulkhead guest start work; do sleep 1; done")  # as soon as its first blocks are there
    at_start = fetched(pc)
    pc.run("systemctl stop bulkhead-screen")  # guests' consoles speak to one reader: here the serial port's
    with Fleet.pc.seat("work"):
        pass
    at_login = fetched(pc)
    _set_line(FASTER_KIB)
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
        console.asks(f"echo {NOTE} >note; sync; echo sum $((60 + 4))", "sum 64")
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
    """A secret made inside the work machine is looked for in all memory that Linux reaches, by a device, and from personal."""
    pc_secret.step(Shown.pc, Console, OWN, say)
    return 0


def _rows(pc):
    """What the person sees of the work machine in `bulkhead guest list`."""
    return [line for line in pc.command("guest", "list").splitlines() if line.startswith(("GUEST", "work"))]


def _at_home(pc, expected):
    """The person ends the machine by its power button, starts it again and looks for a file and a preference of theirs, and
    for git."""
    pc.end("work")
    pc.start("work")
    with pc.seat("work") as console:
        console.asks(f'echo "home: $(cat {KEPT}) $(alias mine) $(command -v git)."', rf"home: {NOTE} alias mine='ls' {expected}\.")


def _arrives(pc, version, say):
    """Waits for a version while another runs, and says now and then how much of it is there."""
    parts = []

    def arrived():
        time.sleep(LOOK_SECONDS)
        guest = pc.guests()["work"]
        part = 100 * guest.get("arriving_bytes", 0) // guest.get("total_bytes", 1)
        if "arriving_bytes" in guest and (not parts or part >= parts[-1] + 10):
            parts.append(part)
            say(_rows(pc)[-1])
        return pc.pc.ask(f"[ -e {RELEASES}/{version}/complete ]")[0] == 0

    wait_for(f"version {version}", arrived, installed_pc.SECONDS)
    if not parts or pc.guests()["work"]["state"] != "running":
        raise Failure(f"version {version} did not arrive in the background")


def _switch_second_on():
    """The second PC comes up while others are used."""
    Shown.base.join()
    Shown.second = installed_pc.installed(Fleet.company.directory, "second", Fleet.company.port, scratch_mib=PLAIN_MIB)
    Shown.second.power_on()


@guarded
def update(say):
    """Version 2 arrives while version 1 is used; the person moves over, goes one step back, and the old one is removed."""
    pc, company = Fleet.pc, Fleet.company
    _switch_second_on()
    with pc.seat("work") as console:
        console.asks(f"echo {NOTE} >{KEPT}; echo alias mine=ls >>.bashrc; sync; echo sum $((80 + 6))", "sum 86")
    before = fetched(pc.pc)
    fleet_steps.publish_version(2, say)
    pc.sync()
    _arrives(pc, 2, say)
    moved = fetched(pc.pc) - before
    say(f"{moved:,} bytes moved while version 1 ran; the person ends it and starts again:")
    _at_home(pc, "/usr/bin/git")
    for line in _rows(pc):
        say(line)
    say("the person's file and preference are there, and git, which version 1 did not have; version 1 is offered still")
    pc.command("guest", "revert", "work")
    _at_home(pc, "")
    for line in _rows(pc):
        say(line)
    say("one step back: version 1, without git, with the same home directory")
    company.admin("device", "update", pc.name, "work")
    pc.sync()
    pc.end("work")
    pc.start("work")
    say(pc.command("guest", "remove-version", "work").strip())
    left = [name for name in pc.pc.run(f"ls {RELEASES}").split() if name.isdigit()]
    if left != ["2"] or pc.command("guest", "revert", "work", ok=False)[0] == 0:
        raise Failure(f"version 1 was removed, and the PC has {left}")
    say("forward again, and version 1 removed by one command")
    return moved


@guarded
def second(say):
    """Another PC, on which the same installer put Bulkhead, enrols for the same user by a token that is typed there."""
    Shown.second.shell()
    Shown.second.enrol(Fleet.company, "alice", "second")
    Shown.second.run("systemctl stop bulkhead-screen")
    Fleet.second = TypedPc(Shown.second, "second")
    wait_for("work on the second PC", lambda: Fleet.second.guests().get("work", {}).get("release") == 2, installed_pc.SECONDS)
    say("a second PC started from its own disk and enrolled; work can start there")
    return fetched(Shown.second)


@guarded
def untouched(say):
    """On the wiped PC the person's own machine, which ran all the time, is as it was."""
    with Console(Shown.pc) as console:
        console.front(2, OWN, "yours")
        console.types("\n")  # its log-in prompt once more
        console.log_in()
        console.asks("echo note $(cat note)", f"note {NOTE}")
    say(f"{OWN}, which no company can wipe, ran all the time and has its files")
    return 0


INSTALL = [("Our installer puts Bulkhead on an empty PC", install)]
WORK = [("The PC enrols; the work machine boots there, sealed, while it arrives", work),
        ("Beside it the person's own machine, which the server never hears of; one key switches", personal),
        ("A secret made inside work is looked for by Linux's kernel, a device and the person's machine", secret),
        ("Version 2 arrives while version 1 runs; moving over, one step back, the old one removed", update)]


SECOND = [("A second PC of the same user enrols", second)]
LAST = [("On the wiped PC the person's own machine is untouched", untouched)]


def end():
    for pc in (Shown.pc, Shown.second):
        if pc:
            pc.power_off()

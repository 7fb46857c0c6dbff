"""The person at an installed PC, who has its console and a USB stick and no shell: enrols it, makes a machine of their own,
backs that up to the stick, removes it, and brings it back with the nine words. See installed.py.
"""
import os
import re
import sys

from company import Company, wait_for
from fleet_steps import holds
from installed_guest import guest_disk
from installed_pc import ROOT, SECONDS, SERVER, installed
from typed_pc import Console
sys.path.insert(0, os.path.join(ROOT, "image"))
import disk  # noqa: E402

STICK_MIB = 512
OWN = "hobby"  # a name that nothing else has
STICK = "nvme1n1p1"  # what the PC calls the stick's file system


def stick(folder, files):
    """A stick with one FAT file system that holds `files` (name -> file)."""
    path, sectors = os.path.join(folder, "stick.img"), STICK_MIB * 2048
    with open(path, "wb") as file:
        file.truncate((sectors + 2 * disk.ALIGN) * disk.SECTOR)
    disk.write_table(path, [(disk.ESP_TYPE, "stick", disk.ALIGN, disk.ALIGN + sectors - 1)])
    disk.fill_esp(path, disk.ALIGN * disk.SECTOR, sectors, files)
    return path


def choose(console, what):
    """Presses the digit before what the form offers."""
    console.types(console.sees(rf"(\d)  {what}").group(1))


def fill_in(console, label, text):
    """Types a line of a form in place of what stands there."""
    console.sees(rf"{label}: ")
    console.types(f"\x15{text}\n")


def starts(console, number):
    """Starts the machine that is chosen, which looks at its disks and switches itself off."""
    console.types("s")
    console.sees(rf"{OWN}: started")
    console.front(1, OWN, "yours")
    console.sees(rf"start {number} of this user disk")
    console.sees(r"#STORY# off")
    console.types("\x1b[24~")
    console.sees(rf"{OWN} +yours +stopped")


def person_without_a_shell_enrols_and_has_a_machine_of_their_own(directory, keep):
    company = Company(directory, names=(SERVER.split(":")[0],))
    keep(company)
    company.admin("user", "add", "alice")
    token = os.path.join(directory, "alice.token")
    with open(token, "w", encoding="ascii") as file:
        file.write(company.token("alice", f"https://{SERVER}") + "\n")
    pc = installed(directory, "installed-own", company.port)
    keep(pc)
    pc.start(more_disks=[stick(directory, {"alice.token": token, "own.raw": guest_disk(directory, "own")})])
    pc.run("until bulkhead agent && bulkhead agent --personal; do sleep 1; done")
    pc.run("systemctl stop bulkhead-screen")  # guests' consoles speak to one reader: here the serial port's
    with Console(pc) as console:
        console.sees(r"not enrolled. n does it, with a token")
        console.types("n")
        choose(console, f"the file alice.token on {STICK}")
        fill_in(console, "Name that administrators see", "laptop")
        console.sees(r"this PC: enrolled; its machines arrive")
        wait_for("the PC at the server", lambda: "laptop" in company.admin("device", "list", "--json"), SECONDS)

        console.types("m")
        offered = console.sees(r"What to make it from:(.*)all of the disk nvme1n1 (.*)IN FRONT").group(0)
        assert "nvme0n1" not in offered, f"the PC's own disk is offered: {offered}"
        choose(console, f"the file own.raw on {STICK}")
        fill_in(console, "Its name", OWN)
        fill_in(console, "Its memory", "256M")
        console.sees(rf"{OWN}: made; s starts it")
        starts(console, 1)

        console.types("b")
        choose(console, STICK)
        console.sees(rf"{OWN}: backed up|nine words")
        words = console.sees(r"((?:[a-z]{5} ){8}[a-z]{5})").group(1)
        console.types(" x")
        console.sees(r"gone for good, with all that is in it")
        console.types("x")
        console.sees(rf"{OWN}: removed")

        console.types("g")
        choose(console, rf"{OWN}, your own, from {STICK}")
        fill_in(console, "Its nine words", "babab " * 8 + "babab")
        console.sees(r"nine words of one recovery phrase")
        fill_in(console, "Its nine words", words)
        console.sees(rf"{OWN}: brought back; s starts it")
        starts(console, 2)
    server = os.path.join(company.directory, "server")
    assert holds(server, b"laptop") and not holds(server, OWN.encode()), f"the server's files hold the name {OWN}"
    report = company.device("laptop").get("report")
    assert OWN not in str(report), report
    print("# " + re.sub(r"\s+", " ", str(report))[:200])

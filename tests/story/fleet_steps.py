"""The fleet half of ./demo: a real server and what a company and a user do with two PCs. The PCs are the emulated ones of
pc_steps.py or, in small, agent and vault as programs of this machine with an emulated TPM each, where a small program stands
for the guest. `company.py` starts the programs.
"""
import hashlib
import json
import os
import random
import re
import subprocess
import tempfile

import debian_images
from company import PC, Company, Failure, wait_for
from installed_guest import firmware_of_the_pc
from installed_pc import SERVER
from pc import MachineError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ARRIVAL_SECONDS = 1800  # a limit against hanging; hosts differ a lot


class Failed(Exception):
    """The step did not show what it is there for."""


class Fleet:
    """What the fleet's steps share: the company and the PC, made by the first of them."""
    company = pc = second = None
    words = ""      # that open the user's disk
    newest = 0      # version that was published last
    directory = ""
    small = False  # tiny disks made here in place of Debian images: for tests of the steps themselves


def _image(version, say):
    """The company's image."""
    return _small_image(version) if Fleet.small else debian_images.get(f"work{version}", say)


def _small_image(version):
    """64 MiB with 6 MiB of random blocks; version 2 has 2 MiB of them changed."""
    path = os.path.join(Fleet.directory, f"small{version}.raw")
    if not os.path.exists(path):
        numbers = random.Random(1)
        with open(path, "wb") as file:
            file.truncate(64 << 20)
            file.seek(1 << 20)
            file.write(numbers.randbytes(6 << 20))
            if version == 2:
                file.seek(2 << 20)
                file.write(numbers.randbytes(2 << 20))
    return path


def _allocated(path):
    return os.stat(path).st_blocks * 512


def _digest(read, size):
    """Of a disk that `read(offset, size)` gives piece by piece."""
    digest = hashlib.sha256()
    for offset in range(0, size, 1 << 20):
        digest.update(read(offset, min(1 << 20, size - offset)))
    return digest.digest()


def _describe(company):
    """Signs what a PC's work machine must measure as; words for `bulkhead image publish`."""
    if Fleet.small:
        return []
    path = os.path.join(company.directory, "work.descriptor")
    company.admin("image", "describe", path, "--memory", "512M", "--processors", "1", "--machine",
                  firmware_of_the_pc(company.directory), "--monitor", os.path.join(ROOT, "build/monitor/monitor"), "--key",
                  company.key("images.key"))
    return ["--descriptor", path]


def publish_version(version, say):
    """Describes, signs and publishes a version; the path of its disk."""
    disk, company = _image(version, say), Fleet.company
    Fleet.newest = version
    # Publishing a whole image takes longer than the patience of company.admin().
    done = subprocess.run([os.path.join(ROOT, "build/cli/bulkhead"), "image", "publish", disk, "--name", "work",
                           "--version", str(version), "--key", company.key("images.key"), *_describe(company)],
                          capture_output=True, text=True, env=dict(os.environ, **company.env), check=False)
    if done.returncode:
        raise Failed(f"publishing version {version}: {done.stderr.strip()}")
    for line in done.stdout.strip().splitlines():
        say(line)
    return disk


def _arrived(version, disk, before, say):
    """Waits for a version on the PC and compares it with what was published; returns the bytes that moved. `before`: what
    the PC had received when the version could first be fetched."""
    path = os.path.join(Fleet.pc.data, "images", "work", str(version))
    wait_for(f"version {version} on the PC", lambda: os.path.exists(os.path.join(path, "complete")), ARRIVAL_SECONDS)
    moved = _received() - before
    wait_for(f"the switch to version {version}", lambda: Fleet.pc.guests()["work"]["release"] == version,
             ARRIVAL_SECONDS)
    # Compared as the guest sees it: on the PC itself the disk is ciphertext.
    Fleet.pc.start("work")
    seen, size = Fleet.pc.disk("work", "system"), os.path.getsize(disk)
    with open(disk, "rb") as published:
        if seen.size != size or _digest(seen.read, size) != _digest(lambda at, count: os.pread(published.fileno(), count, at),
                                                                    size):
            raise Failed(f"version {version} arrived, but is not what was published")
    seen.close()
    Fleet.pc.end("work")
    say(f"version {version} arrived: {moved:,} bytes moved for {_allocated(disk):,} bytes of disk, equal to the last bit")
    return moved


def _received():
    """Bytes of packs the PC has: what it fetched so far."""
    total = 0
    for place, _, names in os.walk(Fleet.pc.data):
        total += sum(os.path.getsize(os.path.join(place, name)) for name in names if name.endswith(".pack"))
    return total


def _lease_starts():
    """Few, so that the lease can be seen to run out; each takes an emulated PC a while. No step uses more between two polls."""
    return 8 if Fleet.small else 3


def guarded(step):
    """A step whose failures name the logs."""
    def play(say):
        try:
            return step(say)
        except (Failure, MachineError, AssertionError) as failure:
            raise Failed(f"{failure}; logs: {Fleet.directory}/*.log") from failure
    play.__doc__ = step.__doc__
    return play


@guarded
def begin(say):
    """A company begins: server, keys that never touch it, a user."""
    Fleet.directory = tempfile.mkdtemp(prefix="bulkhead-demo-")
    say(f"everything of this part is in {Fleet.directory}")
    Fleet.company = Company(Fleet.directory, names=(SERVER.split(":")[0],))
    Fleet.company.admin("user", "add", "alice")
    Fleet.company.admin("policy", "set", "lease_starts", str(_lease_starts()), "--key", Fleet.company.key("policy.key"))
    return 0


@guarded
def publish(say):
    """Version 1 of a real Debian image, described and signed."""
    disk = publish_version(1, say)
    Fleet.company.admin("assign", "work", "--user", "alice")
    return _allocated(disk)


@guarded
def enrol(say):
    """A PC enrols with a one-time token; the version arrives as ciphertext over mutual TLS."""
    Fleet.pc = PC(Fleet.directory, "laptop", tpm=True)
    Fleet.pc.enrol(Fleet.company, "alice")
    wait_for("a lease", lambda: Fleet.pc.status()["vault"]["open"])
    say("enrolled; the lease is charged in the TPM's counters")
    return _arrived(1, _image(1, say), 0, say)


@guarded
def update(say):
    """Version 2 is published; only the difference moves; one step back and forth."""
    before = _received()
    disk = publish_version(2, say)
    moved = _arrived(2, disk, before, say)
    wait_for("the switch to version 2", lambda: Fleet.pc.guests()["work"]["release"] == 2, ARRIVAL_SECONDS)
    Fleet.pc.command("guest", "revert", "work")
    wait_for("version 1 again", lambda: Fleet.pc.guests()["work"]["release"] == 1)
    Fleet.company.admin("device", "update", "laptop", "work")
    wait_for("version 2 again", lambda: Fleet.pc.guests()["work"]["release"] == 2)
    say("went back to version 1 and forward to 2 again")
    return moved


MARK = b"of alice; nobody else should find it"
LATE = b"written on the lost one, too late"


def _fileholds(path, mark):
    """Whether the data of a file, holes left out, has these bytes."""
    with open(path, "rb") as file:
        end = before = 0
        carried = b""
        while True:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
                end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            except OSError:  # nothing but a hole follows
                return False
            for place in range(start, end, 1 << 20):
                carried = carried if place == before else b""
                piece = carried + os.pread(file.fileno(), min(1 << 20, end - place), place)
                if mark in piece:
                    return True
                carried, before = piece[-len(mark):], place + (1 << 20)


def holds(place, mark):
    """Files below a directory, or the file, that hold these bytes, as somebody would find them who has the whole disk."""
    paths = [place] + [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]
    return [path for path in paths if os.path.isfile(path) and _fileholds(path, mark)]


@guarded
def backup(say):
    """The user's disk is backed up while its machine runs, and the user notes the nine words."""
    company, pc = Fleet.company, Fleet.pc
    before = _stored(company)
    pc.start("work")
    pc.leave("work", MARK)
    pc.command("backup", "run", "work")
    moved = _stored(company) - before
    label = pc.guests()["work"]["backup_label"]
    if label != "frozen" and not Fleet.small:  # small: the program that stands for the guest has no guest agent
        raise Failed(f"the machine ran with a guest agent, but its backup is {label}")
    say(f"backed up while in use ({label}): {moved:,} bytes are with the server, as ciphertext")
    Fleet.words = re.search(r"^  ((?:[a-z]{5} ){8}[a-z]{5})$", pc.command("key", "phrase", "work"), re.M).group(1)
    return moved


@guarded
def second_pc(say):
    """Another PC of the same user, to which the machine arrives."""
    Fleet.second = PC(Fleet.directory, "second", tpm=True)
    Fleet.second.enrol(Fleet.company, "alice")
    return 0


@guarded
def restore(say):
    """On it the user's disk opens by the words, and by nothing else that is there."""
    second = Fleet.second
    wait_for("work on the second PC", lambda: second.guests().get("work", {}).get("release") == Fleet.newest, ARRIVAL_SECONDS)
    status, text = second.command("backup", "restore", "work", ok=False)
    if status == 0 or "phrase" not in text:
        raise Failed(f"without the user's words the second PC should not open the backup: {text.strip()}")
    say("on the second PC, without the words: refused")
    second.command("backup", "restore", "work", "--phrase", stdin=Fleet.words + "\n")
    second.start("work")
    if not second.has("work", MARK):
        raise Failed("the restored disk is not what was backed up")
    say("with the nine words: the user's files are there")
    return 0


def _stored(company):
    total = 0
    for place, _, names in os.walk(os.path.join(company.directory, "server", "objects")):
        total += sum(os.path.getsize(os.path.join(place, name)) for name in names)
    return total


@guarded
def lease(say):
    """Offline the lease runs out and the work guest does not start; online again it does, and overwrites nothing."""
    company, pc = Fleet.company, Fleet.pc
    pc.end("work")
    company.kill_server()
    for number in range(_lease_starts() + 1):
        status, text = pc.command("guest", "start", "work", ok=False)
        if status != 0:
            break
        pc.end("work", now=True)
    else:
        raise Failed(f"the work guest started {number + 1} times offline, on a lease of {number} starts")
    if "used up" not in text:
        raise Failed(f"the work guest did not start, but not because of the lease: {text.strip()}")
    say(f"offline, after {number} starts: {text.strip()}")
    company.restart_server()
    wait_for("a new lease", lambda: pc.sync() and pc.status()["vault"]["open"] and
             pc.status()["vault"]["lease"]["starts_left"] > 0, ARRIVAL_SECONDS)
    newest = _backups(company, "main")[-1]
    pc.start("work")
    pc.leave("work", LATE)
    before = _stored(company)
    pc.command("backup", "run", "work")
    if not _backups(company, "side") or _backups(company, "main")[-1] != newest:
        raise Failed("what the first PC backed up did not go aside")
    pc.end("work")
    say("online again the lease is renewed and it starts; what it backs up now is kept aside and overwrites nothing")
    return _stored(company) - before


def _backups(company, branch):
    """The backups of the user's disk on a branch, the newest last."""
    return [row for row in json.loads(company.admin("backup", "list", "alice.work", "--json")) if row["branch"] == branch]


@guarded
def wipe(say):
    """The PC is reported lost: it locks. Two officers wipe it: the key is gone, the TPM signs the receipt."""
    company, pc, second = Fleet.company, Fleet.pc, Fleet.second
    if not holds(second.spill("work"), MARK):
        raise Failed("the search does not find what lies there in plain, so finding nothing would prove nothing")
    found = holds(pc.data, MARK)
    if found:
        raise Failed(f"the PC's disk holds what the user wrote, in plain: {found[0]}")
    say("what the user wrote is found in an unencrypted copy, and nowhere on the lost PC's own disk")
    epoch = pc.status()["vault"]["epoch"]
    company.admin("device", "lost", pc.name)
    wait_for("the lock", lambda: pc.sync() and not pc.status()["vault"]["open"], ARRIVAL_SECONDS)
    say("reported lost: locked at its next poll")
    one, two = company.key("officer-1.key"), company.key("officer-2.key")
    status, _ = company.admin("device", "wipe", pc.name, "--key", one, ok=False)
    if status == 0:
        raise Failed("one officer alone could order a wipe")
    company.admin("device", "wipe", pc.name, "--key", one, "--key", two)
    wait_for("the wipe", lambda: pc.sync() and pc.status()["vault"]["epoch"] > epoch, ARRIVAL_SECONDS)
    wait_for("the receipt", lambda: "proven: " in company.admin("device", "receipts", pc.name), ARRIVAL_SECONDS)
    say("one officer alone was refused; two wiped it. The receipt:")
    for line in company.admin("device", "receipts", pc.name).strip().splitlines():
        say("  " + line)
    status, text = pc.command("guest", "start", "work", ok=False)
    if status == 0:
        raise Failed("the work guest starts on a wiped PC")
    say(f"starting work there: {text.strip()}")
    second.end("work")
    second.start("work")
    say("the user's second PC is untouched and starts it")
    return 0


def around():
    """Three lines that say how to look at what is still running, or none."""
    if not Fleet.second:
        return []
    command = os.path.join(ROOT, "build/cli/bulkhead")
    return [f"the company:     BULKHEAD_CONFIG={Fleet.company.env['BULKHEAD_CONFIG']} {command} device list",
            f"the user's PC:   {Fleet.second.around()}", f"the lost one:    {Fleet.pc.around()}"]


def end():
    """Ends what the steps started."""
    for thing in (Fleet.second, Fleet.pc, Fleet.company):
        if thing:
            thing.stop()
    Fleet.pc = Fleet.second = Fleet.company = None


BEGIN = [("A company begins: its server, and its keys away from it", begin)]
PUBLISH = [("It publishes version 1 of a machine, described and signed", publish)]
# The PCs of --small are the product's programs on this machine; pc_steps.py has the emulated ones.
SMALL = [("A PC enrols and the version arrives", enrol),
         ("Version 2: only the difference moves, one step back works", update)]
SMALL_SECOND = [("A second PC of the same user enrols", second_pc)]
BACKUP = [("The user's disk is backed up while in use", backup)]
LOST = [("On the second PC the user's disk opens by nine words", restore),
        ("Offline the first PC's lease runs out, and work does not start; back online it overwrites nothing", lease),
        ("The lost PC locks, and two officers wipe it", wipe)]

"""The fleet half of ./demo: a real server, a real Debian image, a PC's agent and vault with an emulated TPM.

The guest runs in a plain QEMU as the agent's monitor command, so it is *not* protected; the steps say so. `company.py`
starts the programs.
"""
import hashlib
import os
import subprocess
import tempfile

from company import PC, Company, Failure, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MADE = os.path.join(ROOT, "out/guest")
ARRIVAL_SECONDS = 1800  # a limit against hanging; hosts differ a lot


class Failed(Exception):
    """The step did not show what it is there for."""


class Fleet:
    """What the fleet's steps share: the company and the PC, made by the first of them."""
    company = pc = None
    directory = ""


def _image(version):
    """The path of a real Debian image, built once. Version 2 is version 1 upgraded, with more packages."""
    disk, tree = (os.path.join(MADE, f"work{version}.{end}") for end in ("raw", "tar"))
    if not os.path.exists(disk):
        os.makedirs(MADE, exist_ok=True)
        words = [os.path.join(ROOT, "image/guest/build"), "--output", disk, "--root", tree, "--size", "1536"]
        if version == 2:
            words += ["--upgrade", os.path.join(MADE, "work1.tar"), "--packages", "htop git"]
        if subprocess.run(words, check=False).returncode:
            raise Failed(f"building version {version} of the image failed; its lines are above")
    return disk


def _allocated(path):
    return os.stat(path).st_blocks * 512


def _digest(read, size):
    """Of a disk that `read(offset, size)` gives piece by piece."""
    digest = hashlib.sha256()
    for offset in range(0, size, 1 << 20):
        digest.update(read(offset, min(1 << 20, size - offset)))
    return digest.digest()


def _publish(version, say):
    disk, company = _image(version), Fleet.company
    # Publishing a whole image takes longer than the patience of company.admin().
    done = subprocess.run([os.path.join(ROOT, "build/cli/bulkhead"), "image", "publish", disk, "--name", "work",
                           "--version", str(version), "--key", company.key("images.key")], capture_output=True,
                          text=True, env=dict(os.environ, **company.env), check=False)
    if done.returncode:
        raise Failed(f"publishing version {version}: {done.stderr.strip()}")
    for line in done.stdout.strip().splitlines():
        say(line)
    return disk


def _arrived(version, disk, say):
    """Waits for a version on the PC and compares it with what was published; returns the bytes that moved."""
    before = _received()
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


def _guarded(step):
    def play(say):
        try:
            return step(say)
        except Failure as failure:
            raise Failed(f"{failure}; logs: {Fleet.directory}/*.log") from failure
    play.__doc__ = step.__doc__
    return play


@_guarded
def publish(say):
    """A company begins: server, keys that never touch it, a user, version 1 of a real Debian image."""
    Fleet.directory = tempfile.mkdtemp(prefix="bulkhead-demo-")
    say(f"everything of this part is in {Fleet.directory}")
    Fleet.company = Company(Fleet.directory)
    Fleet.company.admin("user", "add", "alice")
    disk = _publish(1, say)
    Fleet.company.admin("assign", "work", "--user", "alice")
    return _allocated(disk)


@_guarded
def enrol(say):
    """A PC enrols with a one-time token; the version arrives as ciphertext over mutual TLS."""
    Fleet.pc = PC(Fleet.directory, "laptop", tpm=True)
    Fleet.pc.enrol(Fleet.company, "alice")
    wait_for("a lease", lambda: Fleet.pc.status()["vault"]["open"])
    say("enrolled; the lease is charged in the TPM's counters")
    return _arrived(1, _image(1), say)


@_guarded
def update(say):
    """Version 2 is published; only the difference moves; one step back and forth."""
    disk = _publish(2, say)
    moved = _arrived(2, disk, say)
    wait_for("the switch to version 2", lambda: Fleet.pc.guests()["work"]["release"] == 2, ARRIVAL_SECONDS)
    Fleet.pc.command("guest", "revert", "work")
    wait_for("version 1 again", lambda: Fleet.pc.guests()["work"]["release"] == 1)
    Fleet.company.admin("device", "update", "laptop", "work")
    wait_for("version 2 again", lambda: Fleet.pc.guests()["work"]["release"] == 2)
    say("went back to version 1 and forward to 2 again")
    return moved


@_guarded
def wipe(say):
    """The PC is reported lost: it locks. Two officers wipe it: the key is gone, the TPM signs the receipt."""
    company, pc = Fleet.company, Fleet.pc
    epoch = pc.status()["vault"]["epoch"]
    company.admin("device", "lost", "laptop")
    wait_for("the lock", lambda: not pc.status()["vault"]["open"])
    say("reported lost: locked at its next poll")
    one, two = company.key("officer-1.key"), company.key("officer-2.key")
    status, text = company.admin("device", "wipe", "laptop", "--key", one, ok=False)
    if status == 0:
        raise Failed("one officer alone could order a wipe")
    company.admin("device", "wipe", "laptop", "--key", one, "--key", two)
    wait_for("the wipe", lambda: pc.status()["vault"]["epoch"] > epoch)
    say("one officer alone was refused; two wiped it, and the TPM's receipt is with the server")
    return 0


def end():
    """Ends what the steps started."""
    for thing in (Fleet.pc, Fleet.company):
        if thing:
            thing.stop()
    Fleet.pc = Fleet.company = None


STEPS = [
    ("A company publishes version 1 of a real Debian machine", publish),
    ("A PC enrols and the version arrives", enrol),
    ("Version 2: only the difference moves, one step back works", update),
    ("The lost PC locks, and two officers wipe it", wipe),
]

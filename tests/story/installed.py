"""A PC from nothing: the installer's medium puts Bulkhead on an empty disk, the PC starts from it, enrols with a token at
a server on its (emulated) network, takes a new system into its other slot and comes back by itself from a broken one; or
it fetches a machine and runs it protected. A start of the PC takes its time, so the tests take turns (share.py).
"""
import hashlib
import os
import re
import subprocess
import sys

from company import Company, tell, wait_for
from installed_pc import SECONDS, SERVER, SMALL, InstalledPc, make_image
from installed_guest import protected_guest_runs_as_described
import share

WORDS = [word for word in sys.argv[1:] if word.startswith("-")]  # for ./install-image


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


def confirmed(pc):
    """Waits until the running system has said what it thinks of itself."""
    pc.run("systemctl start --wait bulkhead-confirm; [ ! -e /var/lib/bulkhead/slots/trial ]")
    return pc.run("bulkhead-slot status")


def updates_and_falls_back(directory, keep, append, end):
    """The third release is bad: `append` on its kernel's command line, `end` the last that is seen of it."""
    company = Company(directory, names=(SERVER.split(":")[0],))
    keep(company)
    company.admin("user", "add", "alice")
    token = company.token("alice", f"https://{SERVER}")
    pc = InstalledPc(directory, "installed", company.port)
    keep(pc)
    medium = make_image(directory, 1, words=WORDS, answers=[*SMALL, "unattended=yes", f"token={token}", "name=laptop", "after=poweroff"])
    update, broken = (os.path.join(directory, f"release-{n}.update") for n in (2, 3))
    make_image(directory, 2, update=update, words=WORDS)
    make_image(directory, 3, update=broken, append=append, words=WORDS)
    pc.install(medium, lambda line: print(f"# {line}", flush=True))

    # Its own disk: opened by the TPM, enrolled by the token, which is then gone.
    pc.start(more_disks=[damaged(update, os.path.join(directory, "damaged"), os.path.getsize(update) // 2), update, broken])
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
    assert re.search(r"running +slot a, release 1", pc.run("bulkhead-slot status"))
    pc.run("bulkhead-slot update /dev/nvme2n1")
    pc.restart()
    status = confirmed(pc)
    assert re.search(r"running +slot b, release 2", status) and re.search(r"starts +slot b", status), status

    # A release that does not come up: the next start is the one before, by itself.
    pc.run("bulkhead-slot update /dev/nvme3n1")
    pc.pc.send("systemctl reboot\n")
    pc.pc.wait(end, SECONDS)
    pc.shell()
    status = confirmed(pc)
    assert re.search(r"running +slot b, release 2", status) and "did not come up   slot a 3" in status, status
    assert secret in pc.run("cat /var/lib/secret"), "data did not survive"
    print("# " + "\n# ".join(status.splitlines()))
    pc.power_off()
    assert not holds(pc.folder + "/disk.img", secret), "the raw disk holds what lies on the data partition"
    assert holds(pc.folder + "/disk.img", "bulkhead-tpm"), "the search itself does not find what is there"


def pc_enrols_updates_and_comes_back_from_a_system_that_panics(directory, keep):
    updates_and_falls_back(directory, keep, "rdinit=/none panic=5", "Kernel panic")


def pc_enrols_updates_and_comes_back_from_a_system_that_stops_half_way(directory, keep):
    updates_and_falls_back(directory, keep, "systemd.unit=basic.target bulkhead.trial=60", "did not confirm itself")


TESTS = [pc_enrols_updates_and_comes_back_from_a_system_that_panics,
         pc_enrols_updates_and_comes_back_from_a_system_that_stops_half_way]
BY_NAME = [protected_guest_runs_as_described]  # no turn of its own: its guest was not yet seen to come up

if __name__ == "__main__":
    tell([test for test in TESTS + BY_NAME if test.__name__ in sys.argv] or share.of(TESTS, 1))

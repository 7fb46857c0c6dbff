"""A PC from nothing: the installer's medium puts Bulkhead on an empty disk, the PC starts from it, enrols with a token at
a server on its (emulated) network, takes a new system into its other slot and comes back by itself from a broken one; or
it fetches a machine and runs it protected. Each start of the PC takes its time: the tests take turns (share.py), and those
that are not about installing begin with a copy of one installed PC (installed_pc.base).
"""
import hashlib
import os
import re
import subprocess
import sys

from company import Company, tell, wait_for
from installed_pc import BASE, SECONDS, SERVER, SMALL, InstalledPc, installed, make_image
from installed_guest import protected_guest_runs_as_described
from installed_own import person_without_a_shell_enrols_and_has_a_machine_of_their_own
import keys
import pc as machine
import share


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


def update(directory, release, **options):
    """A signed update for PCs of installed_pc.base()."""
    path = os.path.join(directory, f"release-{release}.update")
    make_image(BASE, release, update=path, **options)
    return path


def confirmed(pc):
    """Waits until the running system has said what it thinks of itself."""
    pc.run("systemctl start --wait bulkhead-confirm; [ ! -e /var/lib/bulkhead/slots/trial ]")
    return pc.run("bulkhead-slot status")


def taps(pc):
    """What networkd does with the taps of guests: the words of `networkctl`'s last column."""
    said = pc.run("networkctl --no-legend --no-pager list | grep ' bh'")
    return {line.split()[-1] for line in said.splitlines() if re.match(r"\s*\d+ bh", line)}


def no_guest_gives_the_service_domain_its_network(pc):
    """On a tap a guest could answer DHCP, so nobody asks there. The control asks on every network card."""
    assert taps(pc) == {"unmanaged"}, taps(pc)
    pc.run("mkdir -p /run/systemd/network; printf '[Match]\\nType=ether\\n[Network]\\nDHCP=yes\\n' >/run/systemd/network/10-all.network")
    pc.run("networkctl reload")
    wait_for("networkd on the taps", lambda: "unmanaged" not in taps(pc), SECONDS)


def medium_installs_a_pc_that_enrols_by_itself(directory, keep):
    """The one test that starts the medium with a token on it, and looks at the raw disk afterwards."""
    company = Company(directory, names=(SERVER.split(":")[0],))
    keep(company)
    company.admin("user", "add", "alice")
    token = company.token("alice", f"https://{SERVER}")
    pc = InstalledPc(directory, "installed", company.port)
    keep(pc)
    medium = make_image(directory, 1, answers=[*SMALL, "unattended=yes", f"token={token}", "name=laptop", "after=poweroff"])
    pc.install(medium, lambda line: print(f"# {line}", flush=True))
    # Its own disk: opened by the TPM, enrolled by the token, which is then gone.
    pc.start()
    assert re.search(r"running +slot a, release 1", pc.run("bulkhead-slot status")), "slot a should run"
    wait_for("the PC at the server", lambda: "laptop" in company.admin("device", "list", "--json"), SECONDS)
    report = wait_for("its report", lambda: company.device("laptop").get("report"), SECONDS)
    assert report["enforcement"] == "tpm", report
    pc.run("while [ -e /var/lib/bulkhead/enrol-token ]; do sleep 1; done")
    servers = re.findall(r"^nameserver (\S+)", pc.run("cat /etc/resolv.conf"), re.MULTILINE)
    assert not servers, f"names are asked of {servers}, which this PC's network does not name"
    no_guest_gives_the_service_domain_its_network(pc)
    secret = hashlib.sha256(directory.encode()).hexdigest()
    pc.run(f"echo {secret} >/var/lib/secret; sync")
    pc.power_off()
    assert not holds(pc.folder + "/disk.img", secret), "the raw disk holds what lies on the data partition"
    assert holds(pc.folder + "/disk.img", "bulkhead-tpm"), "the search itself does not find what is there"


def media_of_one_release_are_equal(directory, keep):
    """To the last bit, whenever they are made. The control: another answer."""
    del keep
    digests = []
    for answer in ("after=poweroff", "after=poweroff", "after=reboot"):
        with open(make_image(directory, 1, answers=[answer]), "rb") as medium:
            digests.append(hashlib.file_digest(medium, "sha256").digest())
    assert digests[0] == digests[1] != digests[2]


def medium_starts_from_a_cd_rom_drive_too(directory, keep):
    """The same bytes; what a disc cannot do, keep the recovery key, is said before anything is changed."""
    answers = [*SMALL, "unattended=yes", "after=poweroff"]
    pc = InstalledPc(directory, "disc")
    keep(pc)
    medium = make_image(directory, 1, answers=[*answers, "recovery-to-medium=yes"])
    pc.power_on(disc=medium, reboots=False).wait("this medium cannot be written; use a USB stick. Nothing was changed", SECONDS)
    pc.power_off()
    with open(pc.folder + "/disk.img", "rb") as disk:
        assert not any(disk.read(1 << 20)), "something was changed"
    pc.install(make_image(directory, 1, answers=answers), drive="disc")
    pc.start()
    assert re.search(r"running +slot a, release 1", pc.run("bulkhead-slot status")), "slot a should run"


def pc_takes_an_update_and_no_damaged_one(directory, keep):
    pc = installed(directory, "installed")
    keep(pc)
    good = update(directory, 2)
    pc.start(more_disks=[damaged(good, os.path.join(directory, "damaged"), os.path.getsize(good) // 2), good])
    pc.run("echo kept >/var/lib/secret; sync")
    pc.pc.send("bulkhead-slot update /dev/nvme1n1; echo ST''ATUS=$?\n")
    assert pc.pc.wait(r"STATUS=(\d+)", SECONDS).group(1) == "1", "a damaged update was taken"
    assert re.search(r"running +slot a, release 1", pc.run("bulkhead-slot status"))
    pc.run("bulkhead-slot update /dev/nvme2n1")
    pc.restart()
    status = confirmed(pc)
    print("# " + "\n# ".join(status.splitlines()))
    assert re.search(r"running +slot b, release 2", status) and re.search(r"starts +slot b", status), status
    assert "kept" in pc.run("cat /var/lib/secret"), "data did not survive"


def falls_back(directory, keep, append, end):
    """The release in the update is bad: `append` on its kernel's command line, `end` the last that is seen of it."""
    pc = installed(directory, "installed")
    keep(pc)
    pc.start(more_disks=[update(directory, 3, append=append)])
    pc.run("bulkhead-slot update /dev/nvme1n1")
    pc.pc.send("systemctl reboot\n")
    pc.pc.wait(end, SECONDS)
    pc.shell()
    status = confirmed(pc)
    print("# " + "\n# ".join(status.splitlines()))
    assert re.search(r"running +slot a, release 1", status) and "did not come up   slot b 3" in status, status


def pc_comes_back_from_a_system_that_panics(directory, keep):
    falls_back(directory, keep, "rdinit=/none panic=5", "Kernel panic")


def pc_comes_back_from_a_system_that_stops_half_way(directory, keep):
    falls_back(directory, keep, "systemd.unit=basic.target bulkhead.trial=60", "did not confirm itself")


def system_without_bulkhead_is_confirmed_and_says_what_it_lacks(directory, keep):
    """The control of everything that the hypervisor does: Linux alone. Its vault measures no guests, and says so."""
    pc = installed(directory, "installed")
    keep(pc)
    pc.start(more_disks=[update(directory, 2, words=["--bare"])])
    assert "Bulkhead runs this machine" in pc.run("bulkhead status")
    pc.run("bulkhead-slot update /dev/nvme1n1")
    pc.restart()
    status = confirmed(pc)
    assert re.search(r"running +slot b, release 2", status) and re.search(r"starts +slot b", status), status
    assert "Bulkhead runs this machine" not in pc.run("bulkhead status || :")
    assert "not bound to what a guest measures as" in pc.run("bulkhead agent")


def secure_boot_pc_is_installed_and_starts_what_was_signed(directory, keep):
    """Firmware holds our certificate and lets nothing else start: the medium, what it installs, its kernel, its module."""
    key = keys.make(directory, "platform")
    store = keys.enrol(os.path.join(machine.OVMF, "OVMF_VARS_4M.fd"), os.path.join(directory, "vars.fd"), key[2])
    words = ["--sign-key", key[0], "--sign-certificate", key[1]]
    medium = make_image(directory, 1, answers=[*SMALL, "unattended=yes", "after=poweroff"], words=words)
    pc = InstalledPc(directory, "secure", variables=store)
    keep(pc)
    pc.install(medium)
    pc.start()
    said = pc.run("bulkhead status")
    assert "firmware verified" in said and "firmware did not verify" not in said, said
    assert "integrity" in pc.run("cat /sys/kernel/security/lockdown"), "Linux does not know that it was verified"
    pc.power_off()
    # The control: the same medium without signatures does not start on this PC.
    medium = make_image(directory, 2, answers=[*SMALL, "unattended=yes", "after=poweroff"])
    pc = InstalledPc(directory, "refused", variables=store)
    keep(pc)
    pc.power_on(stick=medium, reboots=False).wait(r"Access Denied|Security Violation", SECONDS)


TESTS = [protected_guest_runs_as_described, person_without_a_shell_enrols_and_has_a_machine_of_their_own,
         medium_installs_a_pc_that_enrols_by_itself,
         media_of_one_release_are_equal, medium_starts_from_a_cd_rom_drive_too,
         pc_comes_back_from_a_system_that_panics, secure_boot_pc_is_installed_and_starts_what_was_signed,
         pc_takes_an_update_and_no_damaged_one, pc_comes_back_from_a_system_that_stops_half_way,
         system_without_bulkhead_is_confirmed_and_says_what_it_lacks]

if __name__ == "__main__":
    tell([test for test in TESTS if test.__name__ in sys.argv] or share.of(TESTS, 1))

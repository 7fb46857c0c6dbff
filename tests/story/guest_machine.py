"""What a PC starts is what its company described: an administrator measures and signs a guest's machine, publishes it
with a version, and the agent writes a configuration from it which the real monitor measures the same. Whatever else the
PC's disk or the server offers in its place starts nothing.

The monitor only measures here: running a protected guest takes a PC under Bulkhead (suite machine).
"""
import glob
import os
import shutil
import sys

from company import BUILD, Company, PC, program, run, tell, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MONITOR = os.path.join(BUILD, "monitor/monitor")
BACKENDS = os.path.join(BUILD, "backends")
BLK = [program("bulkhead-blk"), "--socket=%{socket}", "--control=%{control}", "--state=%{state}", "--key=%{key}",
       "--serial=%{kind}", "--store=%{store}?", "--domain-key=%{domain_key}?", "--version=%{version}?", "--feed=%{feed}?",
       "--trace=%{trace}?", "--record=%{record}?", "--layer=%{layer}?", "--size=%{size}?"]
# At file 3 a monitor shows its sealed guest, of which there is none here, and hears when its disks are served.
HAND_OVER = "printf '\\0\\0\\0\\0' >&3; [ \"$(head -c 4 <&3 | wc -c)\" = 4 ] || exit 1; "
MEASURE = ["sh", "-c", "trap 'exit 0' TERM; \"$0\" --measure \"$1\" >\"$2/measured.new\" 2>&1; mv \"$2/measured.new\" \"$2/measured\"; "
           + HAND_OVER + "while :; do sleep 0.1; done", MONITOR, "%{machine}", "%{directory}"]

# The same as one program, which a personal agent also asks to measure for its owner.
OWN = """#!/bin/sh
[ "$1" = --measure ] && exec {monitor} "$@"
trap 'exit 0' TERM
{monitor} --measure "$1" >"${{1%/*}}/measured.new" 2>&1; mv "${{1%/*}}/measured.new" "${{1%/*}}/measured"
{hand_over}
while :; do sleep 0.1; done
"""


# Stands where the monitor listens for requests, and says which came first: a request, or a signal.
LISTEN = """import json, os, re, signal, socket, sys
folder = sys.argv[2]
os.write(3, bytes(4))
if len(os.read(3, 4)) != 4:
    sys.exit(1)
def end(word):
    with open(folder + "/ended-by", "w") as file:
        file.write(word)
    sys.exit(0)
signal.signal(signal.SIGTERM, lambda *_: end("signal"))
path = re.search("^control = (.*)$", open(sys.argv[1]).read(), re.M).group(1)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
open(folder + "/listens", "w").close()
end(json.loads(listener.accept()[0].makefile().readline())["command"])
"""


def platform(directory):
    """What boots in this test's guests: lines for the PC and for the administrator."""
    kernel = run(os.path.join(ROOT, "image/kernel"), "6.1").strip()
    initrd = os.path.join(directory, "initrd")
    with open(initrd, "wb") as file:
        file.write(bytes(8192))
    path = os.path.join(directory, "machine")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"kernel = {kernel}/vmlinuz\ninitrd = {initrd}\n")
    return path


def describe(company, path, key="images.key", **options):
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    company.admin("image", "describe", path, "--machine", os.path.join(company.directory, "machine"), "--monitor", MONITOR,
                  "--key", company.key(key), *words)
    return path


def publish(company, version, descriptor=None):
    disk = os.path.join(company.directory, f"{version}.raw")
    with open(disk, "wb") as file:
        file.truncate(8 << 20)
        file.seek(1 << 20)
        file.write(version.encode() * 1000)
    company.admin("image", "publish", disk, "--name", "work", "--version", version, "--key", company.key("images.key"),
                  *(["--descriptor", descriptor] if descriptor else []))


def fields(path):
    with open(path, encoding="ascii") as file:
        return dict(line.split(" ", 1) for line in file.read().splitlines())


def measured(pc, guest="work"):
    path = os.path.join(pc.run_directory, "agent.guests", guest, "measured")
    wait_for("the measurement", lambda: os.path.exists(path))
    with open(path, encoding="ascii") as file:
        text = file.read().strip()
    os.unlink(path)
    return text


def set_up(directory, keep, *releases, monitor=MEASURE):
    """A company with an image `work` of these releases [(version, descriptor)], and a PC to which it is assigned."""
    company = Company(directory)
    keep(company)
    machine = platform(directory)
    made = [(version, make and make(company)) for version, make in releases]
    publish(company, *made[0])
    company.admin("user", "add", "alice")
    company.admin("assign", "work", "--user", "alice")
    pc = PC(directory, "laptop", extra={"machine": machine, "monitor": monitor, "disk": BLK, "backends": BACKENDS})
    keep(pc)
    pc.enrol(company, "alice")
    wait_for("release 1", lambda: pc.guests().get("work", {}).get("release") == 1)
    return company, pc, made[1:]


def refused(pc, text, guest="work"):
    status, said = pc.command("guest", "start", guest, ok=False)
    assert status == 1 and text in said, (status, said)


def the_pc_makes_the_machine_that_was_described(directory, keep):
    _, pc, _ = set_up(directory, keep, ("one", lambda c: describe(c, os.path.join(directory, "one.descriptor"), memory="128M",
                                                                  processors=2)))
    described = fields(os.path.join(directory, "one.descriptor"))
    pc.start("work")
    assert measured(pc) == described["measurement"], described
    folder = os.path.join(pc.run_directory, "agent.guests/work")
    with open(os.path.join(folder, "machine"), encoding="ascii") as file:
        lines = file.read().splitlines()
    for line in ("name = work", "memory = 128M", "processors = 2", "protected = yes", f"disk = {folder}/config",
                 f"descriptor = {folder}/descriptor", f"console = {folder}/console", f"guest-agent = {folder}/port"):
        assert line in lines, (line, lines)
    pc.end("work")
    # Something else that boots measures as another guest: one byte of it is enough.
    with open(os.path.join(directory, "initrd"), "r+b") as file:
        file.seek(100)
        file.write(b"\1")
    pc.start("work")
    assert measured(pc) != described["measurement"]


def a_guest_described_without_a_port_for_its_agent_has_none(directory, keep):
    def make(company):
        path = os.path.join(directory, "one.descriptor")
        company.admin("image", "describe", path, "--machine", os.path.join(directory, "machine"), "--monitor", MONITOR, "--key",
                      company.key("images.key"), "--memory", "128M", "--no-guest-agent")
        return path

    _, pc, _ = set_up(directory, keep, ("one", make))
    described = fields(os.path.join(directory, "one.descriptor"))
    assert described["guest-agent"] == "no", described
    pc.start("work")
    assert measured(pc) == described["measurement"], described
    folder = os.path.join(pc.run_directory, "agent.guests/work")
    with open(os.path.join(folder, "machine"), encoding="ascii") as file:
        assert "guest-agent" not in file.read()
    assert not os.path.exists(os.path.join(folder, "port"))


def a_release_without_a_descriptor_does_not_start(directory, keep):
    _, pc, _ = set_up(directory, keep, ("one", None))
    refused(pc, "image describe")


def a_descriptor_by_another_key_starts_nothing(directory, keep):
    def make(company):
        company.admin("key", "new", "stranger", "--out", company.key("stranger.key"), "--no-passphrase")
        return describe(company, os.path.join(directory, "one.descriptor"), key="stranger.key", memory="128M")

    _, pc, _ = set_up(directory, keep, ("one", make))
    refused(pc, "not signed by the company's keys")


def another_releases_manifest_starts_nothing(directory, keep):
    """Whoever can write the PC's disk puts the manifest of release 1, good signatures and all, in place of release 2's."""
    def small(company):
        return describe(company, os.path.join(directory, "one.descriptor"), memory="128M")

    def large(company):
        return describe(company, os.path.join(directory, "two.descriptor"), memory="256M")

    company, pc, later = set_up(directory, keep, ("one", small), ("two", large))
    kept = os.path.join(directory, "manifest")
    shutil.copyfile(glob.glob(os.path.join(pc.data, "images/work/1/manifest"))[0], kept)
    publish(company, *later[0])
    wait_for("release 2", lambda: pc.guests()["work"]["release"] == 2)
    manifest = os.path.join(pc.data, "images/work/2/manifest")
    own = open(manifest, "rb").read()
    shutil.copyfile(kept, manifest)
    refused(pc, "not signed by the company's keys")
    with open(manifest, "wb") as file:  # the control: its own manifest starts it
        file.write(own)
    pc.start("work")
    assert measured(pc) == fields(os.path.join(directory, "two.descriptor"))["measurement"]


def a_guest_that_is_to_end_feels_its_power_button(directory, keep):
    _, pc, _ = set_up(directory, keep, ("one", lambda c: describe(c, os.path.join(directory, "one.descriptor"), memory="128M")),
                      monitor=[sys.executable, "-c", LISTEN, "%{machine}", "%{directory}"])
    pc.start("work")
    folder = os.path.join(pc.run_directory, "agent.guests/work")
    wait_for("the listener", lambda: os.path.exists(os.path.join(folder, "listens")))
    pc.end("work")
    with open(os.path.join(folder, "ended-by"), encoding="ascii") as file:
        assert file.read() == "stop"


def a_card_without_a_network_on_this_pc_starts_nothing(directory, keep):
    def make(company):
        path = os.path.join(directory, "one.descriptor")
        company.admin("image", "describe", path, "--machine", os.path.join(directory, "machine"), "--monitor", MONITOR, "--key",
                      company.key("images.key"), "--memory", "128M", "--network")
        assert fields(path)["network"] == "yes"
        return path

    _, pc, _ = set_up(directory, keep, ("one", make))
    refused(pc, "no network for it")


def an_own_guest_is_the_machine_that_its_owners_vault_signed(directory, keep):
    """No company has a hand in it: the PC measures, the vault's key signs, and a descriptor by anybody else starts nothing."""
    program_file, raw = os.path.join(directory, "own-monitor"), os.path.join(directory, "disk.raw")
    with open(program_file, "w", encoding="ascii") as file:
        file.write(OWN.format(monitor=MONITOR, hand_over=HAND_OVER))
    os.chmod(program_file, 0o755)
    with open(raw, "wb") as file:
        file.write(os.urandom(1 << 20))
    pc = PC(directory, "own", personal=True, extra={"machine": platform(directory), "backends": BACKENDS,
                                                     "monitor": [program_file, "%{machine}"],
                                                     "disk": BLK})
    keep(pc)
    pc.command("guest", "create", "mine", "--disk", raw, "--memory", "128M", "--processors", "1", "--no-network")
    path = os.path.join(pc.data, "guests/mine/descriptor")
    made = fields(path)
    assert (made["memory"], made["processors"], made["network"], made["guest-agent"]) == ("128", "1", "no", "yes"), made
    pc.start("mine")
    assert measured(pc, "mine") == made["measurement"], made
    pc.end("mine")
    # Whoever can write the disk takes the descriptor of another guest of the same owner, well signed; or makes one up.
    pc.command("guest", "create", "other", "--disk", raw, "--memory", "256M", "--no-network")
    own = open(path, "rb").read()
    shutil.copyfile(os.path.join(pc.data, "guests/other/descriptor"), path)
    refused(pc, "is not the one that this PC's vault signed", "mine")
    with open(path, "wb") as file:
        file.write(own.replace(b"memory 128", b"memory 130"))
    refused(pc, "is not the one that this PC's vault signed", "mine")
    os.unlink(path)
    refused(pc, "it has no descriptor", "mine")
    # Its owner says it anew; what is not named stays usual. And what was signed before starts nothing any more.
    pc.command("guest", "describe", "mine", "--memory", "192M", "--no-network", "--no-guest-agent")
    made = fields(path)
    assert (made["memory"], made["processors"], made["guest-agent"]) == ("192", "2", "no"), made
    pc.start("mine")
    assert measured(pc, "mine") == made["measurement"], made
    pc.end("mine")
    with open(path, "wb") as file:
        file.write(own)
    refused(pc, "is not the one that this PC's vault signed", "mine")


def keys_wait_for_the_monitor(directory, keep):
    """No key has left the vault, and no disk is served, until the monitor shows its guest; nor if it ends before."""
    script = f"ls \"$2\" >{directory}/seen; echo monitor: it does not want to; exit 1"
    _, pc, _ = set_up(directory, keep, ("one", lambda c: describe(c, os.path.join(directory, "one.descriptor"), memory="128M")),
                      monitor=["sh", "-c", script, MONITOR, "%{machine}", "%{directory}"])
    starts = pc.status()["vault"]["lease"]["starts_used"]
    refused(pc, "ended before the guest was sealed: monitor: it does not want to")
    with open(os.path.join(directory, "seen"), encoding="ascii") as file:
        seen = file.read().split()
    assert "machine" in seen and not {"system", "user", "config", "config.img"} & set(seen), seen
    assert pc.status()["vault"]["lease"]["starts_used"] == starts


if __name__ == "__main__":
    tell([the_pc_makes_the_machine_that_was_described, a_guest_described_without_a_port_for_its_agent_has_none,
          a_release_without_a_descriptor_does_not_start,
          a_descriptor_by_another_key_starts_nothing, another_releases_manifest_starts_nothing,
          a_guest_that_is_to_end_feels_its_power_button, a_card_without_a_network_on_this_pc_starts_nothing,
          an_own_guest_is_the_machine_that_its_owners_vault_signed, keys_wait_for_the_monitor])

"""The main job on an installed PC: it fetches a machine over mutual TLS, and its agent starts it under Bulkhead: from
firmware, protected, its disks served by bulkhead-blk through the relay, measured as the company described it. What measures
otherwise gets no key and never runs. See installed.py.
"""
import base64
import json
import os
import re
import subprocess
import sys
import tarfile

from company import BUILD, Company
from installed_pc import ROOT, SERVER, installed
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


def arrives(pc, release):
    pc.run(f"until {LIST} | grep -Eq '\"release\": *{release},'; do sleep 1; done")


def start(pc):
    """Starts the guest; returns the hypervisor's guests, what it said on its console, and how its monitor ended."""
    pc.run("bulkhead guest start work")
    pc.run(f"until [ -S {CONSOLE} ] || ! {RUNNING}; do sleep 1; done")
    text = pc.run("bulkhead status --json")
    guests = json.loads(text[text.index("{"):text.rindex("}") + 1])["guests"]
    said = pc.run(f"{LISTEN} {CONSOLE}")
    ended = pc.run(f"while {RUNNING}; do sleep 1; done; journalctl -u bulkhead-agent -o cat -n 50 | grep guest.ended | tail -1")
    return guests, said, int(re.search(r'"status":\s*(\d+)', ended).group(1))


def refused(pc):
    """Starts the guest, which must not start; why."""
    return pc.run("! bulkhead guest start work 2>&1")


def hostile_monitor(pc, change):
    """Has the agent run a monitor that looks at no descriptor and changes the guest's configuration (words for sed)."""
    folder = "/run/systemd/system/bulkhead-agent.service.d"
    script = f"sed -i '/^descriptor/d; {change}' \"$1\"\nexec /usr/local/libexec/bulkhead/monitor --handover 3 \"$1\"\n"
    unit = "[Service]\nExecStart=\nExecStart=/usr/bin/bulkhead-agent --config /run/agent.json\n"
    for path, text in (("/run/hostile", script), (f"{folder}/hostile.conf", unit)):
        coded = base64.b64encode(text.encode()).decode()
        pc.run(f"mkdir -p {os.path.dirname(path)}; echo {coded} | base64 -d >{path}; chmod 644 {path}")
    pc.run("""sed '1s|{|{"monitor": ["sh", "/run/hostile", "%{machine}"], |' /etc/bulkhead/agent.json >/run/agent.json; """
           "chmod 644 /run/agent.json; systemctl daemon-reload; systemctl restart bulkhead-agent; "
           f"until {LIST} | grep -q work; do sleep 1; done")


def runs_as_it_should(number, guests, said, status):
    lines = re.findall(r"#STORY# (.*)", said)
    print("# " + "\n# ".join(lines), flush=True)
    assert status == 0 and lines == ["version one", f"start {number} of this user disk", "user disk keeps what was written", "configuration disk CIDATA", "off"], \
        (status, said[-3000:])
    there = [guest for guest in guests if guest["state"] != "ending"]
    assert len(there) == 1 and there[0]["protected"] and there[0]["state"] == "ready", guests


def protected_guest_runs_as_described(directory, keep):
    company = Company(directory, names=(SERVER.split(":")[0],))
    keep(company)
    company.admin("user", "add", "alice")
    pc = installed(directory, "installed-guest", company.port)
    keep(pc)
    publish(company, directory, "one", firmware_of_the_pc(directory))
    company.admin("assign", "work", "--user", "alice")
    pc.start()
    pc.enrol(company, "alice", "laptop")
    assert "given to guests that measure as" in pc.run("bulkhead agent")
    pc.run("systemctl stop bulkhead-screen")  # the person's screen reads guests' consoles, which speak to one reader
    arrives(pc, 1)
    runs_as_it_should(1, *start(pc))

    # Its data, at rest, by an agent that systemd gives a /var/tmp of its own.
    pc.run("bulkhead backup run work")
    assert "work" in company.admin("backup", "list", "--json"), "no backup at the server"

    # A version whose descriptor, properly signed, names another machine: nothing leaves the vault, and it does not run.
    kernel = os.path.join(quick.kernel_folder(), "vmlinuz")
    publish(company, directory, "two", platform(directory, f"kernel = {kernel}\n"))
    arrives(pc, 2)
    why = refused(pc)
    assert "is not the one its descriptor" in why, why

    # The described machine again, by a monitor that does not look at descriptors: with two MiB more the vault keeps its keys ...
    pc.run("bulkhead guest revert work")
    hostile_monitor(pc, "s/^memory = 256M/memory = 258M/")
    why = refused(pc)
    assert "no key comes out for it" in why, why
    # ... and without them, which is the control, it gives them.
    hostile_monitor(pc, "")
    runs_as_it_should(2, *start(pc))

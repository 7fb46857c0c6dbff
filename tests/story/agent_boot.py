"""A whole guest by the product's own parts: the agent starts a plain QEMU (TCG), whose disks bulkhead-blk serves over
vhost-user from the PC's store while the release arrives. What the guest writes to its user disk survives a new version
and is backed up while it runs."""
import os
import re
import shutil
import subprocess
import sys

from company import Company, alices_pc, program, tell, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(ROOT, "tests/machine"), os.path.join(ROOT, "image")]
import quick  # noqa: E402
import initrd as ramdisk  # noqa: E402

BOOT_SECONDS = 600  # a limit against hanging: the guest is emulated


def make_initrd(directory):
    tree = ramdisk.Initrd()
    tree.busybox()
    tree.modules(quick.kernel_folder(), ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"])
    tree.folder("root")
    tree.file("init", os.path.join(ROOT, "tests/machine/disk/init"), 0o755)
    return tree.write(os.path.join(directory, "initrd"))


def make_disk(directory, version):
    """A small system disk: busybox, an init that uses the user disk, and a file that says which version it is."""
    tree, disk = os.path.join(directory, f"tree-{version}"), os.path.join(directory, f"disk-{version}.raw")
    for name in ("bin", "proc", "sys", "dev"):
        os.makedirs(os.path.join(tree, name))
    shutil.copy("/bin/busybox", os.path.join(tree, "bin/busybox"))
    shutil.copy(os.path.join(HERE, "guest-init"), os.path.join(tree, "init"))
    os.chmod(os.path.join(tree, "init"), 0o755)
    with open(os.path.join(tree, "version"), "w") as file:
        file.write(version + "\n")
    with open(os.path.join(tree, "bulk"), "wb") as file:
        file.write(os.urandom(24 << 20))  # what no boot reads
    with open(disk, "wb") as file:
        file.truncate(96 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-d", tree, disk], check=True)
    return disk


def publish(company, directory, version):
    company.admin("image", "publish", make_disk(directory, version), "--name", "work", "--version", version, "--key",
                  company.key("images.key"))


def machine(directory):
    """The agent's configuration for a guest in QEMU with both disks over vhost-user."""
    memory = ["-object", "memory-backend-memfd,id=m,size=192M,share=on", "-numa", "node,memdev=m"]
    disks = []
    for name in ("system", "user"):
        disks += ["-chardev", f"socket,id={name},path=%{{{name}}}", "-device", f"vhost-user-blk-pci,chardev={name}"]
    return {"disk": [program("bulkhead-blk"), "--socket=%{socket}", "--control=%{control}", "--state=%{state}",
                     "--key=%{key}", "--serial=%{kind}", "--store=%{store}?", "--domain-key=%{domain_key}?",
                     "--version=%{version}?", "--feed=%{feed}?", "--trace=%{trace}?", "--record=%{record}?",
                     "--layer=%{layer}?", "--size=%{size}?"],
            "monitor": ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "192", "-nodefaults",
                        "-display", "none", "-no-reboot", "-serial", "file:%{directory}/serial", *memory, "-kernel",
                        os.path.join(quick.kernel_folder(), "vmlinuz"), "-initrd", make_initrd(directory), "-append",
                        "console=ttyS0 panic=-1 quiet no_timer_check", *disks],
            "bandwidth_bytes": 1000000}


def serial(pc):
    return os.path.join(pc.run_directory, "agent.guests", "work", "serial")


def said(pc):
    path = serial(pc)
    if not os.path.exists(path):
        return []
    with open(path, errors="replace") as file:
        return re.findall(r"#STORY# (.*)", file.read().replace("\r", ""))


def boot(pc):
    if os.path.exists(serial(pc)):
        os.unlink(serial(pc))
    pc.start("work")
    return wait_for("the guest's boot", lambda: "up" in said(pc) and said(pc), BOOT_SECONDS)


def guest_boots_from_a_release_that_still_arrives_and_keeps_its_user_disk(directory, keep):
    company = Company(directory)
    keep(company)
    company.admin("user", "add", "alice")
    publish(company, directory, "one")
    company.admin("assign", "work", "--user", "alice")
    pc = alices_pc(directory, keep, company, extra=machine(directory))
    lines = boot(pc)
    assert lines == ["version one", "found nothing", "wrote", "up"], lines
    guest = pc.guests()["work"]
    print(f"# up with {guest.get('arriving_bytes', 0):,} of {guest.get('total_bytes', 0):,} bytes here")
    assert guest["arriving_bytes"] < guest["total_bytes"], guest
    # A backup while it runs; no guest agent answers, so it is what a power cut would have left.
    pc.command("backup", "run", "work")
    assert pc.guests()["work"]["backup_label"] == "crash-consistent"
    pc.end("work")
    restored = os.path.join(directory, "restored")
    pc.command("backup", "restore", "work", "--into", restored)
    checked = subprocess.run(["/sbin/e2fsck", "-fy", restored], capture_output=True, text=True)
    assert checked.returncode in (0, 1), checked
    shown = subprocess.run(["/sbin/debugfs", "-R", "cat /note", restored], capture_output=True, text=True)
    assert shown.stdout == "note of version one\n", shown

    # A new version has its own system disk; the user disk is the same.
    publish(company, directory, "two")
    wait_for("version 2", lambda: pc.guests()["work"]["release"] == 2, BOOT_SECONDS)
    lines = boot(pc)
    assert lines == ["version two", "found note of version one", "wrote", "up"], lines


if __name__ == "__main__":
    tell([guest_boots_from_a_release_that_still_arrives_and_keeps_its_user_disk])

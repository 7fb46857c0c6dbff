"""The guest of ./bench exits under Xen: Debian's hypervisor, its dom0 and toolstack, in the same emulated PC.

Twice: as Xen's lightest kind of guest (PVH), and with a device model in dom0 (HVM), which answers its ports as our monitor
does. There is no virtio device, and the guest prints by Xen's debug port.
"""
import glob
import os
import re
import subprocess
import sys

import emulated
from emulated import WORK, guests, machine, quick

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = "xen-hypervisor-4.17-amd64,xen-utils-4.17,qemu-system-xen"
MODULES = ["xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs"]
TOOLS = ["xl", "xenstored", "xenconsoled", "xen-init-dom0", "libxl-save-helper"]
DEVICE_MODEL = "usr/libexec/xen-qemu-system-i386"
DEVICE_MODEL_FILES = ["usr/share/seabios/bios-256k.bin", "usr/share/qemu/kvmvapic.bin", "usr/share/qemu/keymaps/en-us"]
# Of Xen 4.17 as it can be emulated: a PV dom0 dies with SMAP, and MWAIT as Xen idles with it faults.
XEN = "com1=115200 console=com1 dom0_mem=1024M guest_loglvl=all/all smap=0"
CPU = "EPYC,+svm,-monitor"
DOM0 = "console=hvc0 quiet panic=-1"
GUEST = """name="{kind}"
type="{kind}"
{program}="/exits"
memory=64
vcpus=1
tsc_mode="native"
on_poweroff="destroy"
on_crash="destroy"
on_reboot="destroy"
"""
# The program takes the place of HVM's firmware; of devices only what cannot be left out.
HVM = 'serial="null"\nvga="none"\nvnc=0\nsdl=0\nnographic=1\nusb=0\nacpi=0\nxen_platform_pci=0\n'


def packages():
    """The folder of Xen's packages and what they need, unpacked, never installed; fetched once."""
    folder = os.path.join(WORK, "xen")
    if not os.path.exists(os.path.join(folder, "complete")):
        sources = subprocess.run([os.path.join(emulated.ROOT, "tools/debian-sources"), "bookworm", "bookworm-security"],
                                 check=True, capture_output=True, text=True).stdout
        subprocess.run(["mmdebstrap", "--quiet", "--variant=extract", f"--include={PACKAGES}",
                        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "bookworm", folder, "-"],
                       check=True, input=sources, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(os.path.join(folder, "complete"), "w", encoding="ascii"):
            pass
    return folder


def program(tree, root, path):
    """Copies a program and its libraries from an unpacked system."""
    listed = subprocess.run(["chroot", root, "/lib64/ld-linux-x86-64.so.2", "--list", f"/{path}"], check=True,
                            capture_output=True, text=True).stdout
    for inside in [path, *re.findall(r"/\S+", listed)]:
        tree.file(inside, os.path.join(root, inside.strip("/")), 0o755)


def initrd(guest_program):
    """dom0's initrd with the guest in it."""
    root, tree = packages(), guests.ramdisk.Initrd()
    tree.busybox()
    tree.modules(quick.kernel_folder(), MODULES)
    [tools] = glob.glob(os.path.join(root, "usr/lib/xen-[0-9]*/bin"))
    for path in [*(os.path.join(os.path.relpath(tools, root), name) for name in TOOLS), DEVICE_MODEL]:
        program(tree, root, path)
    program(tree, root, "usr/lib/x86_64-linux-gnu/libgcc_s.so.1")  # ends threads
    for inside in DEVICE_MODEL_FILES:
        tree.file(inside, os.path.join(root, inside))
    for folder in ("etc/xen", "run/xen", "run/xenstored", "var/lib/xen", "var/lib/xenstored", "var/log/xen"):
        tree.folder(folder)
    tree.link("var/run", "../run")
    tree.text("tools", f"/{os.path.relpath(tools, root)}")
    tree.text("etc/xen/xl.conf", "")
    tree.text("etc/xen/pvh", GUEST.format(kind="pvh", program="kernel"))
    tree.text("etc/xen/hvm", GUEST.format(kind="hvm", program="firmware_override") + HVM)
    tree.file("exits", guest_program)
    tree.file("init", os.path.join(HERE, "xen-init"), 0o755)
    return tree.write(os.path.join(WORK, "dom0.initrd"))


def run(guest_program, kind):
    """The guest's lines, as a guest of Xen's `kind`: "pvh" or "hvm"."""
    print(f"running: xen, {kind}", file=sys.stderr, flush=True)
    xen = os.path.join(WORK, "xen.elf")
    [packed] = glob.glob(os.path.join(packages(), "boot/xen-*-amd64.gz"))
    with open(xen, "wb") as file:
        subprocess.run(["gzip", "-dc", packed], check=True, stdout=file)
    kernel = os.path.join(quick.kernel_folder(), "vmlinuz")
    boot = machine.Multiboot(xen, XEN, [f"{kernel} {DOM0} bench.kind={kind}", initrd(guest_program)])
    lines = []
    with machine.Pc(f"xen-{kind}", boot, cpus=1, icount=machine.ICOUNT, iommu=None, network=False, scratch_mib=0,
                    cpu=CPU) as pc:
        pc.start()
        if pc.wait("EXIT end|could not start|HVM shutdown", 3600, also=lines.append).group() != "EXIT end":
            raise SystemExit(f"exits: Xen's {kind} guest ended early; serial log: {pc.log}")
    return [found.group() for found in (re.search("EXIT .*", line) for line in lines) if found]

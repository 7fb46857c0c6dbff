"""The tests' own small guest (tests/machine/guest) and what a PC needs to run it with the monitor."""
import os
import shutil

import pc
import quick
import initrd as ramdisk  # image/initrd.py: pc has put image/ on the path


def guest_initrd():
    """Writes the guest's initrd; returns its path."""
    tree = ramdisk.Initrd()
    tree.busybox()
    tree.modules(quick.kernel_folder(), ["virtio_pci", "virtio_blk"])
    tree.file("init", os.path.join(pc.ROOT, "tests/machine/guest/init"), 0o755)
    return tree.write(os.path.join(pc.WORK, "guest.initrd"))


def on_kvm():
    """Files of a PC whose Linux runs the guest with the monitor."""
    return {
        "bin/monitor": os.path.join(quick.build_folder(), "monitor/monitor"),
        "bin/qemu-storage-daemon": shutil.which("qemu-storage-daemon"),
        "guest/vmlinuz": os.path.join(quick.kernel_folder(), "vmlinuz"),
        "guest/initrd": guest_initrd(),
    }

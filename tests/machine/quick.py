"""The quick system: Debian's kernel with an initrd that boots in seconds and runs cases; and the ways to boot it.

`initrd()` and `boot()` are what tests, attacks and benchmarks call. A case is an executable in the initrd's /cases: a
shell script of tests/machine/inside/cases, or whatever `extra` adds.
"""
import glob
import os
import subprocess

import pc
import bootfile
import initrd as ramdisk  # image/initrd.py: pc has put image/ on the path

INSIDE = os.path.join(pc.ROOT, "tests/machine/inside")
MODULES = ["nvme", "e1000e", "xhci_pci", "usbhid", "hid_generic", "evdev", "msr", "cpuid", "vfat", "nls_cp437", "nls_ascii",
           "efivarfs", "af_packet"]
BOOT_PATH = "EFI/BOOT/BOOTX64.EFI"  # what firmware starts from a disk it was told nothing about
# The tests' firmware has neither Secure Boot nor a TPM unless a row says so.
SETTINGS = {"log": "info", "if-unverified": "continue"}
COMMAND_LINE = "console=ttyS0,115200 loglevel=5 printk.devkmsg=on panic=-1 iommu=pt"
# While it starts, Linux looks once whether the timer's interrupt arrives, and gives it about 50 ms of the host's clock.
# With remapped interrupts it has nothing else to try and panics. That has been seen, on a busy host, where QEMU's threads
# may get less than that: a likely cause, not a shown one.
# Row `timer` makes the look, with instruction counting, where the host's clock plays no part.
TIMER = "no_timer_check"


def build_folder():
    """Meson's folder with the products under test."""
    return os.environ.get("BULKHEAD_BUILD", os.path.join(pc.ROOT, "build"))


def kernel_folder(series="6.1"):
    """The folder of Debian's kernel (vmlinuz, modules, headers); fetched once."""
    return subprocess.run([os.path.join(pc.ROOT, "image/kernel"), series], check=True, capture_output=True,
                          text=True).stdout.strip()


def our_modules(series="6.1"):
    """Our own kernel modules for that kernel, built if their sources changed: the driver, and the tests' ring0."""
    return [subprocess.run([os.path.join(pc.ROOT, "driver/build"), series, folder], check=True, stdout=subprocess.PIPE,
                           text=True).stdout.strip() for folder in ("driver", "tests/machine/ring0")]


def initrd(path, *, series="6.1", extra=None, modules=(), ours=None):
    """Writes the quick system's initrd. `extra`: {path inside: file}; `modules`: more of the kernel's modules; `ours`:
    our modules' files, if not as they were built."""
    tree = ramdisk.Initrd()
    tree.busybox()
    tree.modules(kernel_folder(series), [*MODULES, *modules], extra=ours or our_modules(series))
    tree.file("init", os.path.join(INSIDE, "init"))
    for case in sorted(glob.glob(os.path.join(INSIDE, "cases", "*"))):
        tree.file(f"cases/{os.path.basename(case)}", case, 0o755)
    for program in sorted(glob.glob(os.path.join(build_folder(), "tests/machine/inside", "*"))):
        if os.path.isfile(program) and os.access(program, os.X_OK):
            tree.program(f"bin/{os.path.basename(program)}", program)
    command = os.path.join(build_folder(), "cli/bulkhead")
    if os.path.exists(command):
        tree.program("bin/bulkhead", command)
    for inside, source in (extra or {}).items():
        tree.program(inside, source)
    return tree.write(path)


def command_line(cases=(), after="poweroff", more="", timer=TIMER):
    words = [COMMAND_LINE, timer, f"bulkhead.cases={','.join(cases)}" if cases else "", f"bulkhead.after={after}", more]
    return " ".join(word for word in words if word)


def boot(how, folder, cases=(), *, series="6.1", after="poweroff", more="", initrd_path=None, configuration=None,
         program=None, timer=TIMER):
    """A boot description for pc.Pc that runs `cases`.

    how: "bare-uefi" (a UKI started by firmware), "bare-direct" (QEMU loads the kernel), "uefi" (firmware starts
    bulkhead.efi, which starts the kernel), "multiboot" (QEMU loads Bulkhead, Bulkhead the kernel; one processor),
    "bare-multiboot" (the same loader starts the kernel without Bulkhead). program: another build's bulkhead.efi.
    timer: "" lets Linux look whether its timer's interrupt arrives.
    """
    os.makedirs(folder, exist_ok=True)
    kernel = os.path.join(kernel_folder(series), "vmlinuz")
    ram = initrd_path or initrd(os.path.join(folder, "initrd"), series=series)
    line = command_line(cases, after, more, timer)
    if how == "bare-direct":
        return pc.Direct(kernel, ram, line)
    if how == "bare-uefi":
        return pc.Uefi({BOOT_PATH: bootfile.unified_kernel(os.path.join(folder, "boot.efi"), kernel, ram, line)})
    if how == "uefi":
        program = program or os.path.join(build_folder(), "hypervisor/bulkhead.efi")
        settings = dict(SETTINGS, **(configuration or {}))
        return pc.Uefi({BOOT_PATH: bootfile.bulkhead(os.path.join(folder, "boot.efi"), program, kernel, ram, line,
                                                     settings)})
    if how in ("multiboot", "bare-multiboot"):
        words = "bare" if how == "bare-multiboot" else ""
        return pc.Multiboot(os.path.join(build_folder(), "hypervisor/bulkhead.mb"), words, [f"{kernel} {line}", ram])
    raise ValueError(f"no way to boot called '{how}'")

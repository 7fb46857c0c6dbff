#!/usr/bin/env python3
"""The boot chain, from firmware to the service domain: verified, measured, refused, or let through on purpose. TAP.

Usage: tests/machine/chain.py [NAME...]     (--list prints the names; without one: this turn's, see share.py)
"""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import keys  # noqa: E402
import pc as machine  # noqa: E402
import quick  # noqa: E402
import share  # noqa: E402
import session as sessions  # noqa: E402
import bootfile  # noqa: E402

SHARE = 3
LINUX = r"#BH# up |Linux version "


class Chain:
    """What the boots share: a folder, the parts, and a key pair."""

    def __init__(self):
        self.folder = os.path.join(machine.WORK, "boot-chain.files")
        os.makedirs(self.folder, exist_ok=True)
        self.kernel = os.path.join(quick.kernel_folder(), "vmlinuz")
        self.ram = quick.initrd(os.path.join(self.folder, "initrd"))
        self.program = os.path.join(quick.build_folder(), "hypervisor/bulkhead.efi")
        self._key = None

    @property
    def key(self):
        if not self._key:
            self._key = keys.make(self.folder, "platform")
        return self._key

    def path(self, name):
        return os.path.join(self.folder, name)

    def composed(self, name, cases=(), *, signed=False, uki=False, **settings):
        """The file that firmware starts; settings: lines of its configuration, dashes as underscores."""
        line = quick.command_line(cases)
        kernel = self.kernel
        settings = {"log": "info", **{key.replace("_", "-"): value for key, value in settings.items()}}
        ram = self.ram
        if signed:
            kernel = keys.sign(self.key, kernel, self.path("vmlinuz.signed"))
            # Verified Linux takes modules only from those whose keys firmware has.
            ours = [keys.sign_module(self.key, path, self.path(os.path.basename(path)), quick.kernel_folder())
                    for path in quick.our_modules()]
            ram = quick.initrd(self.path("initrd.signed"), ours=ours)
        path = self.path(f"{name}.efi")
        if uki:
            image = bootfile.unified_kernel(self.path(f"{name}.uki"), kernel, self.ram, line)
            bootfile.bulkhead_with_unified(path, self.program, image, settings)
        else:
            bootfile.bulkhead(path, self.program, kernel, ram, line, settings)
        return keys.sign(self.key, path, path) if signed else path

    def pc(self, name, file, **arguments):
        return machine.Pc(f"chain-{name}", machine.Uefi({quick.BOOT_PATH: file}), **arguments)

    def secure(self, name, file, **arguments):
        store = os.path.join(machine.OVMF, "OVMF_VARS_4M.fd")
        return self.pc(name, file, variables=keys.enrol(store, self.path("vars.fd"), self.key[2]), **arguments)


def reaches_linux(pc, bulkhead="yes"):
    """Runs the PC to its end; the session."""
    with pc:
        pc.start()
        session = sessions.Session(pc).run()
        pc.wait_end()
    if session.up["bulkhead"] != bulkhead:
        raise machine.MachineError(f"Linux says bulkhead={session.up['bulkhead']}")
    failed = {case: result for case, result in session.results.items() if result[0] != "ok"}
    if failed:
        raise machine.MachineError(f"cases failed: {failed}")
    return session


def stops(pc, *lines):
    """Waits for each of the lines in turn; then nothing of Linux may appear."""
    with pc:
        pc.start()
        for line in lines:
            pc.wait(line)
        try:
            found = pc.wait(LINUX, 10)
        except machine.MachineError:
            return
    raise machine.MachineError(f"it went on: {found.string}")


def has_said(session, text):
    if text not in session.pc.text():
        raise machine.MachineError(f"no line '{text}'")


def signed_file_starts_under_secure_boot(chain):
    """Without leave to go on unverified: so the loader itself must have seen Secure Boot on."""
    file = chain.composed("signed", ["all_processors_online"], signed=True)
    reaches_linux(chain.secure("signed", file))


def changed_byte_is_refused_by_firmware(chain):
    """One letter of the command line inside the signed file: firmware does not start it."""
    source = chain.composed("signed", ["all_processors_online"], signed=True)
    with open(source, "rb") as file:
        image = bytearray(file.read())
    at = image.index(b"bulkhead.after=")
    image[at] ^= 0x20
    with open(chain.path("changed.efi"), "wb") as file:
        file.write(image)
    stops(chain.secure("changed", chain.path("changed.efi")), r"Access Denied|Security Violation")


def unsigned_kernel_is_refused_by_firmware(chain):
    """A signed file around a kernel that only Debian signed: the machine's owner did not."""
    file = chain.composed("unsigned-kernel", if_unverified="continue")
    file = keys.sign(chain.key, file, file)
    stops(chain.secure("unsigned-kernel", file), "firmware refuses the kernel")


def unverified_and_unmeasured_file_stops(chain):
    file = chain.composed("unverified")
    stops(chain.pc("unverified", file), "neither verified nor measured", "stopped: enable Secure Boot or a TPM")


def unverified_file_goes_on_if_told(chain):
    session = reaches_linux(chain.pc("told", chain.composed("told", if_unverified="continue")))
    has_said(session, "neither verified nor measured")


def measurements_follow_the_configuration(chain):
    """PCR 4 and 12 are the same for the same file, and others as soon as the configuration inside changes."""
    def registers(name, **settings):
        file = chain.composed(name, ["read_measurements"], **settings)
        values = reaches_linux(chain.pc(name, file, tpm=True)).values
        return {number: values[f"pcr.{number}"] for number in (4, 12)}

    first, again = registers("measured"), registers("measured")
    changed = registers("measured-other", if_unable="start-linux")
    for number in (4, 12):
        if first[number] != again[number]:
            raise machine.MachineError(f"PCR {number} differs between two boots of the same file")
        if first[number] == changed[number]:
            raise machine.MachineError(f"PCR {number} does not tell two configurations apart")
        if not int(first[number], 16):
            raise machine.MachineError(f"PCR {number} is zero: nothing was measured")


def unified_kernel_starts(chain):
    file = chain.composed("unified", ["all_processors_online"], uki=True, if_unverified="continue")
    reaches_linux(chain.pc("unified", file))


def processor_without_svm_stops(chain):
    file = chain.composed("unable", if_unverified="continue")
    stops(chain.pc("unable", file, cpu="EPYC,-svm"), "cannot run Bulkhead: .*SVM", r"nothing is started")


def processor_without_svm_starts_linux_if_told(chain):
    file = chain.composed("unable-told", if_unverified="continue", if_unable="start-linux")
    session = reaches_linux(chain.pc("unable-told", file, cpu="EPYC,-svm"), bulkhead="no")
    has_said(session, "cannot run Bulkhead")


def grub_starts_it_by_multiboot2(chain):
    """GRUB as on a PC with UEFI: it leaves firmware's boot services and hands over memory map and ACPI's root."""
    tree = chain.path("grub")
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(tree)
    with open(os.path.join(tree, "grub.cfg"), "w", encoding="ascii") as file:
        file.write("multiboot2 (memdisk)/bulkhead.mb log=info\n"
                   f"module2 (memdisk)/vmlinuz {quick.command_line(['all_processors_online', 'devices_work'])}\n"
                   "module2 (memdisk)/initrd\nboot\n")
    shutil.copy(os.path.join(quick.build_folder(), "hypervisor/bulkhead.mb"), os.path.join(tree, "bulkhead.mb"))
    parts = {"boot/grub/grub.cfg": os.path.join(tree, "grub.cfg"), "bulkhead.mb": os.path.join(tree, "bulkhead.mb"),
             "vmlinuz": chain.kernel, "initrd": chain.ram}
    image = chain.path("grub.efi")
    subprocess.run(["grub-mkstandalone", "-O", "x86_64-efi", "-o", image, "--modules=multiboot2",
                    "--install-modules=multiboot2 normal boot", "--locales=", "--fonts=", "--themes=",
                    *(f"{inside}={path}" for inside, path in parts.items())], check=True, capture_output=True)
    reaches_linux(chain.pc("grub", image, cpus=1))


TESTS = [signed_file_starts_under_secure_boot, changed_byte_is_refused_by_firmware,
         unsigned_kernel_is_refused_by_firmware, unverified_and_unmeasured_file_stops, unverified_file_goes_on_if_told,
         measurements_follow_the_configuration, unified_kernel_starts, processor_without_svm_stops,
         processor_without_svm_starts_linux_if_told, grub_starts_it_by_multiboot2]


def main():
    known = {test.__name__: test for test in TESTS}
    if sys.argv[1:] == ["--list"]:
        print("\n".join(known))
        return 0
    unknown = [name for name in sys.argv[1:] if name not in known]
    if unknown:
        print(f"chain.py: no test '{unknown[0]}'; there are: {' '.join(known)}", file=sys.stderr)
        return 2
    chain, tap = Chain(), sessions.Tap()
    for name in sys.argv[1:] or share.of(known, SHARE):
        try:
            known[name](chain)
            tap.report("ok", f"boot-chain.{name}")
        except (machine.MachineError, subprocess.CalledProcessError) as error:
            tap.report("not ok", f"boot-chain.{name}", f"{known[name].__doc__ or name}\n{error}")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())

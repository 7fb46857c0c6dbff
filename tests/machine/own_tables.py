"""The hypervisor's own page tables and control registers, as the processors themselves have them: after a panic every
processor stands in the hypervisor, and QEMU's monitor shows what each of them uses.
"""
import os
import re
import subprocess

import quick

PAGE = 4096
DIRECT_BASE = 0xffff800000000000
PROCESSOR_STACK = 0x98   # x86/processor.h
STACK_BYTES = 4 * PAGE
TSS_IST = 0x24           # APM vol. 2, 12.2.5
IST_STACKS = 3
WRITE_PROTECT, SMEP, SMAP = 1 << 16, 1 << 20, 1 << 21
NO_EXECUTE_ENABLE = 1 << 11


def symbols(program=None):
    """{name: offset} of a build's hypervisor."""
    program = program or os.path.join(quick.build_folder(), "hypervisor/bulkhead.elf")
    text = subprocess.run(["nm", program], check=True, capture_output=True, text=True).stdout
    return {name: int(offset, 16) for offset, name in re.findall(r"^([0-9a-f]+) \w (\S+)$", text, re.MULTILINE)}


def base(pc):
    """Where the hypervisor lies: at the same address for itself and in memory."""
    return int(re.search(r"KiB reserved at ([0-9a-f]+)", pc.text()).group(1), 16)


def _ask(pc, processor, line):
    return pc.qmp.command("human-monitor-command", **{"command-line": line, "cpu-index": processor})


def _registers(pc, processor):
    text = _ask(pc, processor, "info registers")
    found = {name: int(value, 16) for name, value in re.findall(r"\b(CR0|CR4|EFER)=([0-9a-f]+)", text)}
    for name in ("GS", "TR"):
        found[name] = int(re.search(rf"^{name} ?=[0-9a-f]+ ([0-9a-f]+)", text, re.MULTILINE).group(1), 16)
    return found


def _pages(pc, processor):
    """{address: (physical address, bytes, flags)} of every page that is mapped; flags as QEMU prints them, X for one that
    must not be executed."""
    found = {}
    for address, physical, flags in re.findall(r"^([0-9a-f]{16}): ([0-9a-f]{16}) (\S{9})$",
                                               _ask(pc, processor, "info tlb").replace("\r", ""), re.MULTILINE):
        size = 0x200000 if flags[2] == "P" else PAGE
        found[int(address, 16)] = (int(physical, 16), size, flags)
    return found


def _word(pc, address):
    text = pc.qmp.monitor(f"xp /8xb {address:#x}")
    return int.from_bytes(bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2})\b", text)), "little")


def _processors(pc):
    return range(pc.cpus)


def nothing_is_writable_and_executable(_session, pc):
    """Also not by two addresses; and what can be executed is the image's code, nothing else."""
    offsets = symbols()
    code = [base(pc) + offsets["image_start"], base(pc) + offsets["image_rodata"]]
    for processor in _processors(pc):
        pages = _pages(pc, processor).items()
        executable = {physical: address for address, (physical, _, flags) in pages if "X" not in flags}
        if sorted(executable.values()) != list(range(*code, PAGE)):
            return f"processor {processor} executes more or less than the image's code: {len(executable)} pages"
        for address, (physical, size, flags) in pages:
            if "U" in flags:
                return f"processor {processor}: {address:x} is a program's page"
            if "W" in flags and any(physical <= page < physical + size for page in executable):
                return f"processor {processor} can write and execute the page at {physical:x}"
    return ""


def stacks_end_at_pages_that_are_not_there(_session, pc):
    """Below and above each stack, by either address, and at address 0."""
    for processor in _processors(pc):
        registers, pages = _registers(pc, processor), _pages(pc, processor)
        stacks = [(_word(pc, registers["GS"] + PROCESSOR_STACK), STACK_BYTES)]
        stacks += [(_word(pc, registers["TR"] + TSS_IST + 8 * i), PAGE) for i in range(IST_STACKS)]
        for top, size in stacks:
            missing = [page for page in range(top - size, top, PAGE) if page not in pages]
            guards = [page + half for page in (top - size - PAGE, top) for half in (0, DIRECT_BASE)]
            if missing or any(page in pages for page in guards):
                return f"processor {processor}: no guard pages around the stack that ends at {top:x}"
        if 0 in pages:
            return f"processor {processor} has a page at address 0"
    return ""


def protections_are_on(_session, pc):
    """CR0.WP and EFER.NXE, without which the tables' rights mean little; CR4.SMEP and SMAP where the processor has them."""
    paths = [one["qom-path"] for one in pc.qmp.command("query-cpus-fast")]
    for processor in _processors(pc):
        registers = _registers(pc, processor)
        wanted = 0
        for name, bit in (("smep", SMEP), ("smap", SMAP)):
            wanted |= bit if pc.qmp.command("qom-get", path=paths[processor], property=name) else 0
        if registers["CR4"] & wanted != wanted or not registers["CR0"] & WRITE_PROTECT or \
                not registers["EFER"] & NO_EXECUTE_ENABLE:
            return f"processor {processor}: cr0 {registers['CR0']:x}, cr4 {registers['CR4']:x}, efer {registers['EFER']:x}"
    return ""


CHECKS = [nothing_is_writable_and_executable, stacks_end_at_pages_that_are_not_there, protections_are_on]

#!/usr/bin/env python3
"""Hypervisors with one check removed: the controls of attacks that nothing else shows to work.

The check is removed from a copy of the sources, so that no product holds a way to leave it out. Each row names the file,
the text that stands there exactly once, and what stands there instead. Run as a program: TAP, one line a row, whether the
text is still there; `./attack` builds and boots them.
"""
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = os.environ.get("MACHINE_WORK", os.path.join(ROOT, "out/machine"))
COPIED = ["hypervisor", "include"]


@dataclass
class Check:
    """what: what the hypervisor does not do any more."""
    what: str
    path: str
    text: str
    instead: str


CHECKS = {
    "msr-writes": Check(
        "looks up what may be written to a register", "hypervisor/x86/msr.c",
        "enum msr_action action = msr_rule_find(msr)->write;", "enum msr_action action = MSR_PASS;"),
    "page-owner": Check(
        "asks whose a page is before it is given away", "hypervisor/core/ownership.c",
        "if (frame->state != FRAME_SERVICE || frame->pins != 0)", "if (false)"),
    "empty-address": Check(
        "asks whether a guest's address is empty before it is filled", "hypervisor/core/ownership.c",
        "if (!address_space_is_empty(&guest->space, input_of_guest(at), (unsigned int)page_count))", "if (false)"),
    "hidden-page": Check(
        "takes a page from the service domain before it is measured", "hypervisor/core/ownership.c",
        "\thide_from_service(held, transfer->page, frames, transfer->page_count);\n",
        "\tframe_set(&held.core->frames, frames, transfer->page_count, FRAME_NOBODY, NO_GUEST, 0);\n"),
    "handles": Check(
        "compares a handle with the guest's own", "hypervisor/core/guest.c",
        "return handle != 0 && guest->handle == handle ? guest : NULL;", "return guest->handle ? guest : NULL;"),
    "running-vcpu": Check(
        "asks whether a vCPU runs already", "hypervisor/core/vcpu.c",
        "return (*vcpu)->state == VCPU_RUNNING ? BULKHEAD_BUSY : BULKHEAD_OK;",
        "if ((*vcpu)->state == VCPU_RUNNING)\n\t\t(*vcpu)->state = VCPU_READY;\n\treturn BULKHEAD_OK;"),
    "run-page": Check(
        "keeps to itself what a port read has asked for", "hypervisor/x86/svm/guest_exits.c",
        "\tif (guest->pending_read == 0)\n\t\treturn;\n\tset_port_value(guest->vmcb, guest->pending_read,",
        "\tif (!READ_ONCE(run->is_read))\n\t\treturn;\n\tset_port_value(guest->vmcb, READ_ONCE(run->size_bytes),"),
    "extended-state": Check(
        "loads a domain's own extended registers", "hypervisor/x86/svm/vcpu.c",
        '__asm__ volatile("xrstor64 (%0)" : : "r"(to->extended), "a"((uint32_t)mask),\n\t\t\t "d"((uint32_t)(mask >> 32))',
        '__asm__ volatile("xrstor64 (%0)" : : "r"(to->extended), "a"(0),\n\t\t\t "d"(0)'),
    "own-nmi": Check(
        "keeps NMIs between its processors from the service domain", "hypervisor/x86/nmi.c",
        "if (!is_ours || ", "if (is_ours || !is_ours || "),
    "final-access": Check(
        "asks whether a nested fault was the access itself, or the walk to it", "hypervisor/x86/svm/guest_exits.c",
        "if ((info & NESTED_FAULT_FINAL) && !(info", "if (!(info"),
    "interrupts-end-runs": Check(
        "has a physical interrupt end a guest's run", "hypervisor/x86/svm/vcpu.c",
        "vmcb->intercept1 = INTERCEPT1_INTR | INTERCEPT1_NMI", "vmcb->intercept1 = INTERCEPT1_NMI"),
    "measured-device": Check(
        "measures what devices a guest is given", "hypervisor/core/guest_platform.c",
        "\tmeasure_small(&guest->measurement, BULKHEAD_RECORD_DEVICE, slot, &description,\n\t\t      sizeof(description));\n",
        ""),
    "monitors-inputs": Check(
        "asks whether an input of a guest's I/O APIC is one that its monitor drives", "hypervisor/core/guest_platform.c",
        "if (level > 1 || (line != LINE_SERIAL && line != LINE_CLOCK && line != LINE_POWER))", "if (level > 1)"),
    "ring-index": Check(
        "asks whether a guest's ring can hold as many requests as it says", "hypervisor/platform/virtqueue.c",
        "if ((uint16_t)(available - queue->available_seen) > queue->size)", "if (false)"),
    "relay-length": Check(
        "asks whether a backend can have written as much as it says", "hypervisor/platform/relay.c",
        "if (entry.size_bytes > writable)", "if (false)"),
    "relay-budget": Check(
        "counts what the relay does in one run", "hypervisor/platform/relay_lost.h",
        "*budget_bytes -= *budget_bytes < size_bytes ? *budget_bytes : size_bytes;",
        "(void)budget_bytes;\n\t(void)size_bytes;"),
    "own-code": Check(
        "keeps its own code from being written", "hypervisor/x86/host_tables.c",
        "return is_direct ? 0 : PRESENT;", "return is_direct ? 0 : PRESENT | WRITABLE;"),
    "own-data": Check(
        "keeps its own data from being executed", "hypervisor/x86/host_tables.c",
        "\treturn PRESENT | WRITABLE | NO_EXECUTE;", "\treturn PRESENT | WRITABLE;"),
    "own-guards": Check(
        "leaves pages out around its stacks", "hypervisor/x86/host_tables.c",
        "if (is_guard(page, blocks, block_count))", "if (is_guard(page, blocks, block_count) && false)"),
}


def weakened(check):
    """The file's text without a check; ValueError if it does not stand there once."""
    with open(os.path.join(ROOT, check.path), encoding="utf-8") as file:
        source = file.read()
    if source.count(check.text) != 1:
        raise ValueError(f"{check.path} holds {source.count(check.text)} times: {check.text}")
    return source.replace(check.text, check.instead)


def write(path, text):
    """Only if it changes: what is built from it is built again."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def copy(source, target):
    """Copies a tree's files that changed; removes what is gone."""
    os.makedirs(target, exist_ok=True)
    names = os.listdir(source)
    for name in set(os.listdir(target)) - set(names):
        path = os.path.join(target, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    for name in names:
        path, there = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(path):
            copy(path, there)
        elif not os.path.exists(there) or os.path.getmtime(path) != os.path.getmtime(there):
            shutil.copy2(path, there)


def build(name):
    """Builds a hypervisor without one check in a tree of its own; returns Meson's folder there."""
    check = CHECKS[name]
    tree = os.path.join(WORK, f"weakened-{name}")
    os.makedirs(tree, exist_ok=True)
    for entry in os.listdir(ROOT):
        if entry in COPIED:
            copy(os.path.join(ROOT, entry), os.path.join(tree, entry))
        elif not entry.startswith((".", "build", "out")) and not os.path.lexists(os.path.join(tree, entry)):
            os.symlink(os.path.join(ROOT, entry), os.path.join(tree, entry))
    write(os.path.join(tree, check.path), weakened(check))
    folder = os.path.join(tree, "build")
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        subprocess.run(["meson", "setup", folder, tree, "-Dtests=disabled"], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, CC="gcc"))
    subprocess.run(["ninja", "-C", folder, "--quiet", "hypervisor/bulkhead.efi"], check=True)
    return folder


def main():
    failed = 0
    for number, (name, check) in enumerate(CHECKS.items(), 1):
        try:
            weakened(check)
            print(f"ok {number} - {name}")
        except (ValueError, OSError) as error:
            failed += 1
            print(f"not ok {number} - {name}\n# {error}".replace("\n\t", " "))
    print(f"1..{len(CHECKS)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

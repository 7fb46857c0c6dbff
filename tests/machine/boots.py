"""The boots of suite `machine`: each row is one start of the emulated PC and the cases that share it.

A case that can wreck the machine gets a row of its own. `check` functions judge, from outside, what the whole boot
showed; they return a reason when something is wrong.
"""
from dataclasses import dataclass, field

import guests


@dataclass
class Boot:
    """name: also the Meson test. how: see quick.boot. pc: arguments of pc.Pc. checks: functions of (session, pc).

    files: a function that returns more files for the initrd, {path inside: file}; modules: more kernel modules.
    """
    name: str
    how: str
    cases: list = field(default_factory=list)
    pc: dict = field(default_factory=dict)
    checks: list = field(default_factory=list)
    more: str = ""
    after: str = "poweroff"
    series: str = "6.1"
    files: object = None
    modules: tuple = ()


def stays_bare(session, _pc):
    """The control: without Bulkhead the cases must find none, or they would prove nothing under it."""
    return "" if session.up["bulkhead"] == "no" else "a bare boot says it runs under Bulkhead"


BOOTS = [
    Boot("control-without-bulkhead", "bare-uefi", ["all_processors_online", "devices_work", "ring0_works",
                                                "driver_refuses_without_bulkhead"],
         checks=[stays_bare]),
    Boot("monitor-on-kvm", "bare-direct", ["monitor_runs_a_guest_on_stock_kvm"], files=guests.on_kvm,
         modules=("kvm_amd",), pc={"iommu": None, "scratch_mib": 0}),
]

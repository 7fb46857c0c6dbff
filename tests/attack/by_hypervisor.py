"""Mistakes of the hypervisor's own: it writes over its code, runs what lies in its data, or its stack grows too far.

Whoever makes it do one of these would have it in hand next. No such mistake is known, so a debugger makes it, in the product
as it is: where a processor is about to enter the service domain, it first runs a few instructions that commit the mistake.
They stand where the hypervisor's entry was, which nobody needs any more. What must come of it is a panic, before there
is any effect.
"""
import os
import struct

from attack import Attack, memory_changes
from victim import PAGE, Gone, command, gdb, machine, own_tables

MARK = 0x6B72614D
PAGE_FAULT, DOUBLE_FAULT = 14, 8
PUSH_RAX, POP_RAX, CALL_RAX = b"\x50", b"\x58", b"\xff\xd0"


def _to_rax(value):
    return b"\x48\xb8" + struct.pack("<Q", value)


def _write_code(place):
    """Writes into the hypervisor's code, just behind these instructions."""
    target = place.routine + 64
    return target, _to_rax(target) + b"\xc7\x00" + struct.pack("<I", MARK)  # movl $MARK, (%rax)


def _run_data(place):
    """Calls instructions that lie at the far end of the stack, where nothing else is. They leave a mark behind them."""
    target = place.stack_start + 64
    place.debugger.write(place.stack_start, _to_rax(target) + b"\xc7\x00" + struct.pack("<I", MARK) + b"\xc3")
    return target, _to_rax(place.stack_start) + CALL_RAX


def _overflow_stack(place):
    """Pushes once more when the stack is full."""
    full = b"\x48\xbc" + struct.pack("<Q", place.stack_start)
    return place.stack_start - 8, b"\x48\x89\xe0" + full + b"\x68" + struct.pack("<I", MARK) + b"\x48\x89\xc4"


class Place:
    """Where the mistake is made: the routine's address, and the stack of the processor that makes it."""

    def __init__(self, debugger, routine):
        self.debugger, self.routine = debugger, routine
        stack = debugger.read(debugger.get("rdi") + own_tables.PROCESSOR_STACK, 8)
        self.stack_start = int.from_bytes(stack, "little") - own_tables.STACK_BYTES


def mistake(instructions, exception):
    """True if the mistake goes through. `instructions` returns the address that shows it and the code, which may change
    RAX; `exception` is the one that it ends with otherwise."""
    def act(victim):
        base, symbols = own_tables.base(victim.pc), own_tables.symbols(victim.program("hypervisor/bulkhead.elf"))
        entry, routine = base + symbols["svm_switch"], base + symbols["hypervisor_entry"]
        debugger = gdb.Gdb(os.path.join(victim.pc.folder, "gdb"))
        debugger.run_to(entry, lambda: victim.fire(command("cpuid", 0)))
        target, code = instructions(Place(debugger, routine))
        code = PUSH_RAX + code + POP_RAX
        debugger.write(routine, code + b"\xe9" + struct.pack("<i", entry - routine - len(code) - 5))
        debugger.set("rip", routine)
        if memory_changes(victim, target, debugger.close):
            return True
        try:
            victim.pc.wait(rf"panic: exception {exception}, .* address {target // PAGE:x}", 10)
        except machine.MachineError as error:
            raise Gone("the mistake had no effect, and the hypervisor did not panic of it") from error
        return False
    return act


def _attack(name, instructions, exception, control):
    return Attack(name, "hypervisor", mistake(instructions, exception), destructive=True, control=control,
                  pc={"debugger": True})


ATTACKS = [
    _attack("own-code-written", _write_code, PAGE_FAULT, "own-code"),
    _attack("own-data-run", _run_data, PAGE_FAULT, "own-data"),
    _attack("own-stack-overflow", _overflow_stack, DOUBLE_FAULT, "own-guards"),
]

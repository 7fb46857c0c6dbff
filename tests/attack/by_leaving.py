"""Attacks by ending the machine: memory survives a reset, so whoever resets it must find nothing.

Under Bulkhead the secret is a page loaded into a protected guest; without it, any page.
"""
from attack import Attack
from victim import Gone, PATTERN, command, line

CREATE, PAY, RANGE, LOAD, DESTROY = 0x10, 0x11, 0x13, 0x15, 0x1B
OK, AGAIN = 0, 1
PROTECTED = 1
TABLES = 6
POWER_CONTROL = 0x604


def call(victim, *words):
    """One hypercall, repeated while it asks for it; its value."""
    for _ in range(50):
        status, value = (int(word, 16) for word in victim.shell(command("call", *words)).split())
        if status != AGAIN:
            break
    if status != OK:
        raise Gone(f"hypercall {words[0]:#x} answers {status}")
    return value


def secret(victim):
    """Where a page with a secret in it lies."""
    page = victim.alloc()
    victim.acts(*(("write", page + offset, 8, PATTERN + offset) for offset in (0, 8, 2048, 4088)))
    if victim.protected:
        handle = call(victim, CREATE, victim.alloc(), PROTECTED)
        for _ in range(TABLES):
            call(victim, PAY, handle, victim.alloc())
        call(victim, RANGE, handle, 0, 512)
        call(victim, LOAD, handle, page, 0, 1)
    return page


def ends_with_secret(end):
    """True if the machine ends by `end` and the secret is still there."""
    def act(victim):
        page = secret(victim)
        loaded = victim.truth(page, 4096)
        if not any(loaded):
            raise Gone("the secret was not there to begin with")
        victim.fire(end)
        ended = victim.wait_for(lambda: victim.status() != "running", 20)
        return ended and victim.truth(page, 4096) == loaded
    return act


ENDS = {
    "reset-port": line(("out", 0xCF9, 1, 2), ("out", 0xCF9, 1, 6)),
    "reset-keyboard": line(("out", 0x64, 1, 0xFE)),
    "reset-port-92": line(("out", 0x92, 1, 1)),
    "triple-fault": line(("triplefault",)),
    "power-off": line(("out", POWER_CONTROL, 2, 1 << 13)),
}
ATTACKS = [Attack(name, "chipset", ends_with_secret(end), destructive=True) for name, end in ENDS.items()]

"""Attacks on guests and by guests: their memory, measurement, registers, and processors; by program `hostile` inside.

A guest here is tiny and made by hypercalls alone, so that the service domain's kernel does to it whatever it likes.
"""
from attack import UNPROTECTED, Attack, memory_changes
from by_device import MARK, edu_fetch, edu_store, edu_write, nmi_count
from by_leaving import DESTROY, call
from victim import PAGE, Gone, machine

SECONDS = 300
# QEMU's edu ends the emulator when a transfer reaches its buffer's end.
COPIED = PAGE - 8
SECRET = 0x5EC2E7A11D7A93C5.to_bytes(8, "little")  # as in hostile.h


def _hostile(victim, words):
    """Runs `hostile` inside; its last line."""
    kind = "" if victim.guests_protected else " unprotected"
    return victim.shell(f"hostile {words}{kind}", SECONDS).split("|")[-1]


def _has_succeeded(name, answer):
    if answer not in ("succeeded", "stopped"):
        raise Gone(f"hostile {name}: {answer}")
    return answer == "succeeded"


def hostile(name):
    return lambda victim: _has_succeeded(name, _hostile(victim, name))


def fatal(name):
    """An attack that, where it works, ends the kernel or keeps a processor for good: whatever Linux still says of it, the
    answer is that not all processors answer any more."""
    def act(victim):
        victim.fire(f"hostile {name}")
        try:
            found = victim.pc.wait(rf"#BH# reply {victim.number} \d+ ([^|]*)|panic|soft lockup", SECONDS)
            if found.group(1):
                return _has_succeeded(name, found.group(1))
        except machine.MachineError:
            pass
        if victim.is_well():
            raise Gone(f"hostile {name}: no answer, but nothing is broken")
        return True
    return act


def storm(victim):
    """A guest's messages between its processors: none may reach a processor of the machine's, or Linux."""
    before = nmi_count(victim)
    hostile("storm")(victim)
    return nmi_count(victim) != before or any(victim.was_reset(processor) for processor in (0, 1))


class Held:
    """A guest that has made its secret and waits."""

    def __init__(self, victim):
        self.victim = victim
        try:
            self.handle, self.page, self.first, self.end = (int(word, 16) for word in
                                                            _hostile(victim, "hold-secret").split())
        except ValueError as error:
            raise Gone(f"hostile hold-secret: {error}") from error
        if victim.truth(self.page, 8) != SECRET:
            raise Gone("the guest's secret is not where it made it")

    def kill(self):
        call(self.victim, DESTROY, self.handle)

    def device_finds_secret(self):
        """Whether a device that copies the guest's memory, page by page, gets hold of the secret."""
        copy = self.victim.alloc()
        for page in range(self.first, self.end, PAGE):
            self.victim.shell(f"{edu_fetch(self.victim, page, COPIED)}; {edu_store(self.victim, copy, COPIED)}")
            if SECRET in self.victim.truth(copy, PAGE):
                return True
        return False


def secret_by_device(victim):
    """A secret made inside a guest, looked for by a device's DMA: while the guest lives, and when it was killed."""
    held = Held(victim)
    is_found = held.device_finds_secret()
    held.kill()
    is_found |= held.device_finds_secret()
    victim.acts(("write", held.page, 8, 0))
    return is_found


def write_by_device(victim):
    held = Held(victim)
    is_changed = memory_changes(victim, held.page, lambda: edu_write(victim, held.page, MARK))
    held.kill()
    victim.acts(("write", held.page, 8, 0))
    return is_changed


ATTACKS = [
    Attack("guest-secret", "processor", hostile("secret"), control=UNPROTECTED),
    Attack("guest-secret-dma", "device", secret_by_device, control=UNPROTECTED),
    Attack("guest-write-dma", "device", write_by_device, control=UNPROTECTED),
    Attack("guest-registers", "processor", hostile("registers"), control=UNPROTECTED),
    Attack("guest-flipped-byte", "processor", hostile("flipped-byte"), control=UNPROTECTED),
    Attack("guest-page-swap", "processor", hostile("page-swap"), control="empty-address"),
    Attack("guest-handle-reuse", "processor", hostile("handle-reuse"), control="handles"),
    Attack("guest-page-twice", "processor", hostile("double-donation"), control="page-owner"),
    Attack("guest-load-race", "processor", hostile("load-race"), control="hidden-page"),
    Attack("guest-vcpu-twice", "monitor", fatal("vcpu-twice"), control="running-vcpu"),
    Attack("guest-run-page", "monitor", hostile("run-page-race"), control="run-page"),
    Attack("guest-stale-state", "guest", hostile("stale-registers"), control="extended-state"),
    Attack("guest-stale-vectors", "guest", hostile("stale-vectors"), control="extended-state"),
    Attack("guest-storm", "guest", storm, control="own-nmi"),
    Attack("guest-table-in-device", "guest", hostile("table-in-device"), control="final-access"),
    Attack("guest-stay", "guest", hostile("stay"), control="interrupts-end-runs"),
    Attack("guest-split-locks", "guest", hostile("split-locks"), control="interrupts-end-runs"),
    Attack("guest-flood", "guest", hostile("flood"), control="relay-budget"),
    Attack("guest-extra-device", "monitor", hostile("extra-device"), control="measured-device"),
    Attack("guest-interrupt", "monitor", hostile("interrupt"), control="monitors-inputs"),
]

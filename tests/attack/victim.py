"""The PC under attack: a service domain that does at CPL 0 whatever it is told, watched from outside.

What an attack achieved is judged by QEMU's own view of memory and registers wherever that is possible: neither the
attacker nor Bulkhead can colour it.
"""
import os
import re
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/machine"))
import gdb  # noqa: E402,F401
import pc as machine  # noqa: E402
import quick  # noqa: E402
import guests  # noqa: E402
import own_tables  # noqa: E402,F401
import weaken as weakening  # noqa: E402

PAGE = 4096
PATTERN = 0x5EC2E7005EC2E700
REPLY_SECONDS = 60
GARBLED = "99"
EDU = "edu,dma_mask=0xffffffffffffffff"
IDENTITY = 0x40480000  # CPUID: who the hypervisor is
SVME, SYSCALLS = 1 << 12, 1  # bits of EFER


class Fault(Exception):
    """The processor raised an exception instead of doing it."""

    def __init__(self, vector):
        super().__init__(f"exception {vector}")
        self.vector = vector


class Gone(Exception):
    """The attacker does not answer any more."""


class Victim:
    """A running PC. `protected` says whether Bulkhead runs beneath its Linux; `weaken` names the one check that this
    Bulkhead is built without; `guests_protected` whether guests that are made are to be protected."""

    def __init__(self, name, protected, *, pc=None, more="", weaken=None, guests_protected=True):
        self.protected, self.guests_protected = protected, guests_protected
        self.number = 0
        self.devices = {}
        folder = os.path.join(machine.WORK, f"{name}.files")
        os.makedirs(folder, exist_ok=True)
        pc = dict(pc or {})
        more_files = guests.with_devices() if pc.pop("with_guest", False) else {}
        extra = {"cases/agent": os.path.join(ROOT, "tests/attack/inside/agent")}
        for program in ("sweep", "vapic", "hostile"):
            extra[f"bin/{program}"] = os.path.join(quick.build_folder(), "tests/attack", program)
        initrd = quick.initrd(os.path.join(folder, "initrd"), extra={**more_files, **extra})
        self.build = weakening.build(weaken) if weaken else quick.build_folder()
        boot = quick.boot("uefi" if protected else "bare-uefi", folder, ["agent"], initrd_path=initrd,
                          more=f"panic=0 {more}", program=self.program("hypervisor/bulkhead.efi"))
        self.pc = machine.Pc(name, boot, parallel=True, extra=["-device", EDU, "-action", "shutdown=pause"], **pc)
        self.target_page = None

    def __enter__(self):
        try:
            self.pc.start()
            self.pc.wait(r"#BH# up ")
            self.pc.wait(r"#BH# agent")
        except machine.MachineError:
            self.pc.stop()
            raise
        return self

    def __exit__(self, *failure):
        self.pc.stop()

    def program(self, path):
        """A file of the build that runs here."""
        return os.path.join(self.build, path)

    # --- what the attacker does ---------------------------------------------------------------------------------

    def shell(self, line, seconds=REPLY_SECONDS):
        """Runs a shell line in the service domain and returns its output; raises Gone if no answer comes."""
        for _ in range(3):
            self.fire(line)
            try:
                found = self.pc.wait(rf"#BH# reply {self.number} (\d+) ?(.*)", seconds)
            except machine.MachineError as error:
                raise Gone(str(error)) from error
            if found.group(1) != GARBLED:
                return found.group(2).rstrip("|")
        raise Gone("the serial port loses characters")

    def fire(self, line):
        """Runs a shell line that may well be the attacker's last."""
        self.number += 1
        try:
            self.pc.send(f"{self.number} {len(line)} {line}\n")
        except machine.MachineError as error:
            raise Gone(str(error)) from error

    def ring0(self, *words, processor=0):
        """One act at CPL 0; numbers are given as int. Returns the value, or raises Fault."""
        text = self.shell(command(*words, processor=processor))
        fault = re.match(r"fault (\d+)", text)
        if fault:
            raise Fault(int(fault.group(1)))
        if not re.match(r"^[0-9a-f]+( |$)", text):
            raise Gone(f"ring0 {words}: no answer but '{text}'")
        return int(text.split()[0], 16)

    def acts(self, *acts):
        """Several acts in one go, in order, whatever they answer."""
        return self.shell("; ".join(command(*act) for act in acts))

    def is_well(self):
        """Whether the machine can be attacked once more: it runs, and both processors answer."""
        if "<error> panic: " in self.pc.text():
            return False
        try:
            answers = [self.ring0("cpuid", IDENTITY, processor=processor) for processor in (0, 1)]
        except (Fault, Gone):
            return False
        return self.status() == "running" and answers[0] == answers[1]

    def alloc(self, order=0):
        return self.ring0("alloc", order)

    def write_bytes(self, address, data):
        data = data + bytes(-len(data) % 8)
        self.acts(*[("write", address + i, 8, int.from_bytes(data[i:i + 8], "little"))
                    for i in range(0, len(data), 8)])

    def config_read(self, function, offset, width):
        """Configuration space by ports CF8h and CFCh; function is bus << 8 | device << 3 | function."""
        text = self.acts(("out", 0xCF8, 4, 0x80000000 | function << 8 | offset & 0xFC),
                         ("in", 0xCFC + (offset & 3), width))
        value = text.split("|")[-1]
        return None if value.startswith("fault") else int(value, 16)

    def config_write(self, function, offset, width, value):
        self.acts(*config_write_acts(function, offset, width, value))

    def find(self, vendor, device, which=-1):
        """The function number and first base address of a PCI device, with memory access and bus mastering on."""
        key = (vendor, device, which)
        if key not in self.devices:
            text = self.shell(f"for d in /sys/bus/pci/devices/*; do [ $(cat $d/vendor):$(cat $d/device) = "
                              f"{vendor:#06x}:{device:#06x} ] && echo $(basename $d) $(head -1 $d/resource); done")
            words = text.split("|")[which].split()
            bus, slot, function = (int(part, 16) for part in re.split("[:.]", words[0])[1:])
            number = bus << 8 | slot << 3 | function
            self.config_write(number, 4, 2, 0x0006)
            self.devices[key] = (number, int(words[1], 16), words[0])
        return self.devices[key]

    # --- what the watcher sees ----------------------------------------------------------------------------------

    def truth(self, address, size=32):
        """Memory as the machine has it."""
        text = self.pc.qmp.monitor(f"xp /{size}xb {address:#x}")
        return bytes(int(word, 16) for word in re.findall(r"0x([0-9a-f]{2})\b", text))

    def registers(self, processor):
        """QEMU's view of a processor: {EFER, CR0, EIP or RIP, A20, SMM, HLT, CS base}."""
        text = self.pc.qmp.command("human-monitor-command",
                                   **{"command-line": "info registers", "cpu-index": processor})
        found = {key: int(value, 16) for key, value in
                 re.findall(r"\b(EFER|CR0|EIP|RIP|A20|SMM|HLT|CR4)=\s*([0-9a-f]+)", text)}
        found["CS"] = int(re.search(r"CS =[0-9a-f]+ ([0-9a-f]+)", text).group(1), 16)
        return found

    def was_reset(self, processor):
        """An INIT reached the processor itself: it waits at the reset vector, SVM off."""
        registers = self.registers(processor)
        return registers["EFER"] & SVME == 0 and registers["CR0"] & 1 == 0

    def wait_for(self, condition, seconds=10):
        """Polls the watcher's view until it holds or time is up; the result is the condition's last value."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def status(self):
        return self.pc.qmp.command("query-status")["status"]

    # --- the memory that must not be reached --------------------------------------------------------------------

    def target(self, order=0):
        """A page to attack: the hypervisor's own where there is one, else one that stands in for it."""
        if self.protected:
            return self.hypervisor_page()
        page = self.alloc(order)
        self.acts(("write", page, 8, PATTERN), ("write", page + 8, 8, PATTERN + 1))
        return page

    def hypervisor_page(self):
        if self.target_page is None:
            found = re.search(r"(\d+) KiB reserved at ([0-9a-f]+)", self.pc.text())
            if not found:
                raise Gone("Bulkhead's log does not say where its memory is")
            start = int(found.group(2), 16)
            end = start + (int(found.group(1)) << 10)
            # The first page with something in it that stays as it is: code or constants.
            for page in range(start, end, PAGE):
                content = self.truth(page)
                if len(set(content)) > 8:
                    self.target_page = page
                    break
            else:
                raise Gone("the hypervisor's memory looks empty")
        return self.target_page


def command(*words, processor=0):
    """The shell line of one act at CPL 0."""
    where = f"-c {processor} " if processor else ""
    return f"ring0 {where}" + " ".join(f"{word:x}" if isinstance(word, int) else word for word in words)


def config_write_acts(function, offset, width, value):
    return (("out", 0xCF8, 4, 0x80000000 | function << 8 | offset & 0xFC),
            ("out", 0xCFC + (offset & 3), width, value))


def line(*acts):
    """The shell line of several acts."""
    return "; ".join(command(*act) for act in acts)


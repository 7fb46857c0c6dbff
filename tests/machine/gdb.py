"""QEMU's debugger port, for what QMP cannot do: change physical memory and a processor's registers from outside."""
import re
import socket

REGISTERS = {"rdi": 5, "rsp": 7, "rip": 16}  # QEMU's order of an x86-64 processor's registers


class Gdb:
    """Speaks the remote serial protocol. Connecting stops the PC; close() lets it run on."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.heard = b""
        self._ask("qXfer:features:read:target.xml:0,1000")  # who has not asked for this is given no single register
        self._do("Qqemu.PhyMemMode:1")

    def _ask(self, text):
        self._send(text)
        return self._answer(lambda answer: not answer.startswith("T"))

    def _send(self, text):
        self.socket.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 0xff))

    def _answer(self, is_meant):
        """The next answer that is meant: reports that the PC has stopped come whenever it does."""
        while True:
            found = re.search(rb"\$([^#]*)#..", self.heard, re.DOTALL)
            if not found:
                self.heard += self.socket.recv(4096)
                continue
            self.heard = self.heard[found.end():]
            self.socket.sendall(b"+")
            answer = found.group(1).decode()
            if is_meant(answer):
                return answer

    def _do(self, text):
        answer = self._ask(text)
        if answer != "OK":
            raise OSError(f"the debugger answers '{answer}' to '{text[:40]}'")

    def write(self, address, data):
        """Writes bytes at a physical address; raises OSError if QEMU refuses."""
        self._do(f"M{address:x},{len(data):x}:{data.hex()}")

    def read(self, address, size):
        return bytes.fromhex(self._ask(f"m{address:x},{size:x}"))

    def run_to(self, address, meanwhile):
        """Lets the PC run until a processor is about to execute at a virtual address, and does `meanwhile` once it runs.
        That processor's registers are then those that get() and set() mean. TimeoutError if none comes there in a minute."""
        self._do(f"Z1,{address:x},1")
        self._send("c")
        meanwhile()
        self._answer(lambda answer: answer.startswith("T05"))
        self._do(f"z1,{address:x},1")

    def get(self, register):
        return int.from_bytes(bytes.fromhex(self._ask(f"p{REGISTERS[register]:x}")), "little")

    def set(self, register, value):
        self._do(f"P{REGISTERS[register]:x}={value.to_bytes(8, 'little').hex()}")

    def close(self):
        self._ask("D")
        self.socket.close()

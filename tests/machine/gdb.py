"""QEMU's debugger port, for the one thing QMP cannot do: change physical memory from outside."""
import socket


class Gdb:
    """Speaks the remote serial protocol. Connecting stops the PC; close() lets it run on."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self._ask("Qqemu.PhyMemMode:1")

    def _ask(self, text):
        self.socket.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 0xff))
        answer = b""
        while b"#" not in answer or len(answer) < answer.index(b"#") + 3:
            answer += self.socket.recv(4096)
        self.socket.sendall(b"+")
        return answer[answer.index(b"$") + 1:answer.index(b"#")].decode()

    def write(self, address, data):
        """Writes bytes at a physical address; raises OSError if QEMU refuses."""
        if self._ask(f"M{address:x},{len(data):x}:{data.hex()}") != "OK":
            raise OSError(f"the debugger cannot write at {address:#x}")

    def close(self):
        self._ask("D")
        self.socket.close()

"""QEMU's machine protocol: one JSON object a line over a Unix socket. Enough of it to press buttons."""
import json
import socket
import time


class QmpError(Exception):
    """QEMU refused a command; the text is QEMU's."""


class Qmp:
    def __init__(self, path, seconds=20):
        deadline = time.monotonic() + seconds
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.socket.settimeout(seconds)
        self.stream = self.socket.makefile("rw", encoding="utf-8")
        self.events = []
        json.loads(self.stream.readline())
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        """Runs one command and returns its answer; events that arrive meanwhile are kept in `events`."""
        json.dump({"execute": name, "arguments": arguments}, self.stream)
        self.stream.write("\n")
        self.stream.flush()
        while True:
            line = self.stream.readline()
            if not line:
                raise QmpError(f"{name}: QEMU closed the connection")
            answer = json.loads(line)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise QmpError(f"{name}: {answer['error'].get('desc', answer['error'])}")
            else:
                return answer["return"]

    def monitor(self, line):
        """Runs a line of QEMU's human monitor (registers, memory dumps) and returns its text."""
        return self.command("human-monitor-command", **{"command-line": line})

    def close(self):
        self.stream.close()
        self.socket.close()

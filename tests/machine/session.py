"""One boot of the quick system, read line by line: which cases passed, failed, were skipped, and what they asked for.

A case may ask the outside to press a button with a line "#BH# host WORDS"; `buttons` maps the first word to a function
called with (pc, words).
"""
import pc as machine


def _inject_nmi(pc, _words):
    pc.qmp.command("inject-nmi")


def _hmp(pc, words):
    pc.qmp.monitor(" ".join(words))


BUTTONS = {"nmi": _inject_nmi, "monitor": _hmp}


class Session:
    """Runs a started Pc until the quick system says it is done.

    results   {case: ("ok" | "not ok" | "skip", reason)}
    values    {key: text} from lines "#BH# value KEY TEXT"
    up        the words of the "up" line as a dictionary: cpus, bulkhead, uptime, kernel
    """

    def __init__(self, pc, buttons=None):
        self.pc = pc
        self.buttons = dict(BUTTONS, **(buttons or {}))
        self.results, self.values, self.up = {}, {}, {}

    def run(self, seconds=machine.SECONDS):
        found = self.pc.wait(r"#BH# up (.*)", seconds)
        self.up = dict(word.split("=", 1) for word in found.group(1).split())
        self.pc.wait(r"#BH# done", seconds, also=self._line)
        return self

    def run_until(self, pattern, seconds=machine.SECONDS):
        """For a machine that does not get to say it is done: waits for a line, then watches a little longer."""
        self.pc.wait(pattern, seconds, also=self._line)
        try:
            self.pc.wait("#BH# ", 5)
        except machine.MachineError:
            pass  # silence is what a machine that has stopped gives
        return self

    def _line(self, line):
        _, marker, rest = line.partition("#BH# ")
        if not marker:
            return
        for verdict in ("not ok", "ok", "skip"):
            if rest.startswith(verdict + " "):
                name, _, reason = rest[len(verdict) + 1:].partition(": ")
                self.results[name] = (verdict, reason)
                return
        word, _, rest = rest.partition(" ")
        if word == "value":
            key, _, text = rest.partition(" ")
            self.values[key] = text
        elif word == "host":
            words = rest.split()
            self.buttons[words[0]](self.pc, words[1:])


class Tap:
    """Prints results the way Meson's `protocol: 'tap'` reads them."""

    def __init__(self):
        self.number = self.failed = 0

    def report(self, verdict, name, reason=""):
        self.number += 1
        if verdict == "skip":
            print(f"ok {self.number} - {name} # SKIP {reason}", flush=True)
        elif verdict == "ok":
            print(f"ok {self.number} - {name}", flush=True)
        else:
            self.failed += 1
            print(f"not ok {self.number} - {name}", flush=True)
            for line in reason.splitlines():
                print(f"# {line}", flush=True)

    def end(self):
        print(f"1..{self.number}", flush=True)
        return 1 if self.failed else 0

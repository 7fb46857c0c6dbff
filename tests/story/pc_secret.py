"""A secret made inside a guest of the installed PC, and everybody who looks for it there: Linux's kernel in all memory that
it reaches, a device by DMA, root of the other guest in all of its memory, and, as the one who knows where it is, QEMU. The
control runs the same Debian unprotected; the other guest's control is a secret of its own.

A PC that is installed holds nothing to attack with: the tests' kernel module and program come on a disk that is plugged in,
and QEMU's edu device is in the PC from its start.
"""
import json
import os
import random
import re
import subprocess

import quick
from company import BUILD, Failure
from installed_pc import ROOT, SECONDS

EDU = ("-device", "edu,dma_mask=0xffffffffffffffff")  # belongs to the PC from its start
EDU_ID, EDU_BUFFER = "0x1234:0x11e8", 0x40000
COPIES = 64           # pages with the secret in them, so that some lie where nobody moves them
PAGE = 4096
PIECE = 256 << 20     # of memory that is looked at in one go
COPIED = 16           # pages that the device is told to copy
NOWHERE = (1 << 64) - 1
MASK = (1 << 64) - 1
# Makes eight random bytes, lays them into pages of memory again and again, and says their complement: so neither the bytes
# nor their digits ever stand on the console, which Linux carries.
MAKE = ("perl -e 'open R, \"/dev/urandom\"; read R, $s, 8; $c = ~$s; $b = $s x 512; open F, \">/dev/shm/secret\"; "
        f"print F $b for 1..{COPIES}; close F; print \"made \", %d + 1, \" \", unpack(\"H*\", $c), \" so\\n\"'")
# Root of a guest looks at every page that its kernel maps, through /proc/kcore: the segments there that have a physical address.
# Exclusive or with the complement makes ones of the secret, so nothing that is looked at holds it but what was there. The
# person's password is empty, so sudo is given an empty line.
LOOK = ("echo | sudo -Sp \"\" perl -e '$c = pack \"H*\", \"%s\"; open K, \"/proc/kcore\"; sysread K, $h, 65536; "
        "for $i (0 .. unpack(\"x56 v\", $h) - 1) { "
        "($t, $o, $p, $n) = (unpack \"V2 Q4\", substr $h, 64 + 56 * $i, 40)[0, 2, 4, 5]; "
        "next if $t != 1 || $p == ~0 || $seen{$p}++; sysseek K, $o, 0; "
        "while ($n > 0) { $r = sysread K, $b, $n < 1 << 20 ? $n : 1 << 20; last if !$r; $n -= $r; "
        "for ($a = 0; $a < $r; $a += 4096) { $all++; $hits++ if (substr($b, $a, 8) ^ $c) eq \"\\xff\" x 8 } } } "
        "print \"looked \", %d + 1, \" at $all pages, \", $hits + 0, \" hold it.\\n\"'")
# Stands in for the monitor of the person's machine and starts it without protection, which no command of the product does.
UNPROTECTED = """#!/bin/sh
sed -e 's/^protected = yes/protected = no/' -e '/^descriptor/d' "$1" >"$1.unprotected"
exec /usr/libexec/bulkhead/monitor --handover 3 "$1.unprotected"
"""


def tools(folder):
    """A disk with what looks: the module, the program that drives it, and what starts the control."""
    tree, path = os.path.join(folder, "tools"), os.path.join(folder, "tools.img")
    os.makedirs(tree, exist_ok=True)
    for source in (quick.our_modules()[1], os.path.join(BUILD, "tests/machine/inside/ring0")):
        subprocess.run(["cp", source, tree], check=True)
    with open(os.path.join(tree, "unprotected"), "w", encoding="ascii") as file:
        file.write(UNPROTECTED)
    os.chmod(file.name, 0o755)
    with open(os.path.join(ROOT, "image/root/etc/bulkhead/own-agent.json"), encoding="ascii") as file:
        config = dict(json.load(file), monitor=["/run/tools/unprotected", "%{machine}"])
    with open(os.path.join(tree, "own-agent.json"), "w", encoding="ascii") as file:
        json.dump(config, file)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, path, "16M"], check=True, stdout=subprocess.DEVNULL)
    return path


def protected_guests(pc):
    """The hypervisor's own list."""
    text = pc.run("bulkhead status --json")
    return [guest for guest in json.loads(text[text.index("{"):text.rindex("}") + 1])["guests"] if guest["protected"]]


class Search:
    """Looks for one secret. `complement` is the only form of it that comes near the PC."""

    def __init__(self, pc, complement):
        self.pc, self.complement = pc, complement
        self.secret = (~complement & MASK).to_bytes(8, "little")

    def ring0(self, *words):
        line = " ".join(f"{word:x}" if isinstance(word, int) else word for word in words)
        # The shell's prompt may have come before the typed line's echo, or after it.
        return int(re.findall(r"^(?:#BH# )?([0-9a-f]+)$", self.pc.run(f"/run/tools/ring0 {line}"), re.M)[-1], 16)

    def by_linux(self):
        """Whether any memory that Linux's kernel reaches holds it."""
        return self.ring0("find", self.complement) != NOWHERE

    def places(self):
        """Where the machine's memory holds it, as QEMU sees it from outside."""
        path = os.path.join(self.pc.pc.folder, "memory")
        low, size = 2 << 30, self.pc.memory_mib << 20  # q35 puts what is more than this above 4 GiB
        found = []
        self.pc.pc.qmp.socket.settimeout(SECONDS)
        for at in range(0, size, PIECE):
            start = at if at < low else at - low + (4 << 30)
            self.pc.pc.qmp.command("pmemsave", val=start, size=min(PIECE, size - at), filename=path)
            found += [start + offset for offset in _pages_with(path, self.secret)]
            os.unlink(path)
        return found

    def by_device(self, places):
        """Whether QEMU's edu, told to copy the pages that do hold it into Linux's memory, brings it."""
        text = self.pc.run(f"for d in /sys/bus/pci/devices/*; do [ $(cat $d/vendor):$(cat $d/device) = {EDU_ID} ] || continue; "
                           "head -1 $d/resource; printf '\\006' | dd of=$d/config bs=1 seek=4 conv=notrunc status=none; done")
        base = int(re.search(r"^0x([0-9a-f]{16}) 0x", text, re.M).group(1), 16)
        copy = self.ring0("alloc", 0)
        for page in sorted({place & ~(PAGE - 1) for place in places})[:COPIED]:
            for source, target, way in ((page, EDU_BUFFER, 1), (EDU_BUFFER, copy, 3)):
                acts = "; ".join(f"/run/tools/ring0 mmiow {base + register:x} 8 {value:x}" for register, value in
                                 ((0x80, source), (0x88, target), (0x90, 64), (0x98, way)))
                self.pc.run(f"{acts}; while [ $((0x$(/run/tools/ring0 mmio {base + 0x98:x} 4) & 1)) = 1 ]; do :; done")
            if self.ring0("read", copy, 8) == int.from_bytes(self.secret, "little"):
                return True
        return False


def _pages_with(path, needle):
    """Offsets of the pages in a file that begin with these bytes."""
    with open(path, "rb") as file:
        data = file.read()
    found, at = [], data.find(needle)
    while at >= 0:
        if at % PAGE == 0:
            found.append(at)
        at = data.find(needle, at + 1)
    return found


def _made(console):
    """A secret in the guest in front; its complement. The number tells the answer from what stands on the screen already."""
    number = random.randrange(10000, 100000)
    found = console.asks(MAKE % number, rf"made {number + 1} ([0-9a-f]{{16}}) so")
    return int.from_bytes(bytes.fromhex(found.group(1)), "little")


def _seen_by(console, complement):
    """Has the guest in front look for a secret in its memory: (pages it looked at, pages that hold it)."""
    number = random.randrange(10000, 100000)
    found = console.asks(LOOK % (complement.to_bytes(8, "little").hex(), number),
                         rf"looked {number + 1} at (\d+) pages, (\d+) hold it\.")
    return int(found.group(1)), int(found.group(2))


def _look_from(console, complement, say):
    """The guest in front looks for another one's secret, and for one of its own."""
    pages, hits = _seen_by(console, complement)
    if hits:
        raise Failure("the person's machine found the secret of the company's")
    own = _seen_by(console, _made(console))[1]
    if not own:
        raise Failure("the search inside the person's machine does not find what is there, so it proves nothing")
    say(f"root of the person's machine looked at all its {pages:,} pages: not found; a secret made there is, in {own} pages")


def step(pc, console_of, own, say):
    """Plays the step of ./demo: protected, and the same Debian unprotected."""
    pc.run("mkdir -p /run/tools && mount -o ro /dev/nvme2n1 /run/tools && insmod /run/tools/ring0.ko")
    with console_of(pc) as console:
        console.front(1, "work", "company's")
        search = Search(pc, _made(console))
    places = search.places()
    if not places:
        raise Failure("the secret is nowhere in the machine's memory, so nobody could find it")
    say(f"made inside work: 8 random bytes, which QEMU sees in {len(places)} pages of the PC's memory")
    if search.by_linux():
        raise Failure("Linux's kernel found the secret of the protected guest")
    if search.by_device(places):
        raise Failure("a device brought the secret of the protected guest")
    say("Linux's kernel looked through all its memory, and a device was told to copy those very pages: not found")
    with console_of(pc) as console:
        console.front(2, own, "yours")
        _look_from(console, search.complement, say)
    _unprotect(pc, own)
    with console_of(pc) as console:
        console.front(2, own, "yours")
        console.log_in()
        search = Search(pc, _made(console))
    places = search.places()
    if not search.by_linux() or not search.by_device(places):
        raise Failure("the search does not find the secret of an unprotected guest, so it proves nothing")
    say(f"the control, {own} started again unprotected: Linux's kernel finds its secret, the device brings it")
    pc.run(f"bulkhead guest stop {own} --personal --now; while bulkhead guest list --personal | grep -q running; do sleep 1; done; "
           "umount /etc/bulkhead/own-agent.json && systemctl restart bulkhead-own-agent && "
           f"until bulkhead guest start {own} --personal; do sleep 1; done")
    say(f"{own} is started again, protected")
    say("What Linux still sees of a protected guest: its disks, network, keys and screen")


def _unprotect(pc, own):
    """Starts the person's machine again, as a guest without protection."""
    pc.run(f"bulkhead guest stop {own} --personal --now; while bulkhead guest list --personal | grep -q running; do sleep 1; done")
    pc.run("mount --bind /run/tools/own-agent.json /etc/bulkhead/own-agent.json && systemctl restart bulkhead-own-agent && "
           f"until bulkhead guest start {own} --personal; do sleep 1; done")

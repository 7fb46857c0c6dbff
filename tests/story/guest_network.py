#!/usr/bin/env python3
"""A guest's network: it reaches the world by NAT, and neither the service domain nor another guest.

Three network namespaces stand for the service domain, the world behind its uplink, and (by what is put on the taps) two
guests. Every attempt is made twice: with the rules of bulkhead-net-setup, where it must fail, and as a control without
them, where it must succeed. A forbidden packet is followed by an allowed one on the same way: when that has arrived, the
other would have.
"""
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys

SETUP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../backends/bulkhead-net-setup")
WORLD, UPLINK = "192.0.2.2", "192.0.2.1"
PORT = 7777
GUESTS = {"bh1": ("10.77.1.1", "10.77.1.2", bytes.fromhex("020000000001")),
          "bh2": ("10.77.2.1", "10.77.2.2", bytes.fromhex("020000000002"))}


def run(*command):
    subprocess.run(command, check=True)


def address(text):
    return socket.inet_aton(text)


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Tap:
    """The guest's end of a tap."""

    def __init__(self, name):
        self.gateway, self.guest, self.mac = GUESTS[name]
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.fd, 0x400454ca, struct.pack("16sH22x", name.encode(), 0x1002))  # TUNSETIFF: TAP, NO_PI
        run(SETUP, name, f"{self.gateway}/30", self.guest, "up0")
        link = json.loads(subprocess.run(["ip", "-j", "link", "show", "dev", name], check=True,
                                         capture_output=True).stdout)[0]
        self.peer = bytes.fromhex(link["address"].replace(":", ""))
        run("ip", "neighbour", "replace", self.guest, "lladdr", self.mac.hex(":"), "dev", name)

    def send(self, target, payload, source=None):
        """Sends a UDP packet."""
        udp = struct.pack(">HHHH", PORT, PORT, 8 + len(payload), 0) + payload
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, address(source or self.guest),
                           address(target))
        head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
        os.write(self.fd, self.peer + self.mac + b"\x08\x00" + head + udp)

    def receive(self, wanted):
        """Payloads of UDP packets until one is @wanted; fails if it does not come."""
        payloads = []
        while wanted not in payloads:
            if not select.select([self.fd], [], [], 30)[0]:
                raise AssertionError(f"{wanted} did not arrive, only {payloads}")
            frame = os.read(self.fd, 2048)
            if frame[12:14] == b"\x08\x00" and frame[23] == 17:
                payloads.append(frame[42:])
        return payloads


class Listener:
    """A socket of one namespace, on every address of it."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("0.0.0.0", PORT))

    def got(self):
        """Payloads that have arrived."""
        payloads = []
        while select.select([self.socket], [], [], 0)[0]:
            payloads.append(self.socket.recv(2048))
        return payloads


WORLD_PROGRAM = f"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", {PORT}))
print("ready", flush=True)
seen = []
while True:
    data, sender = s.recvfrom(2048)
    seen.append(data)
    if data.startswith(b"knock "):
        s.sendto(b"knock", (data[6:].decode(), {PORT}))
    s.sendto(b"from " + sender[0].encode() + b" " + b",".join(seen), sender)
"""


def make_world():
    """The namespace behind the uplink, with a server that says who it heard what from."""
    world = subprocess.Popen(["unshare", "-n", sys.executable, "-c",
                              "import subprocess, sys\nsubprocess.run(['ip', 'link', 'set', 'lo', 'up'])\n"
                              "print('here', flush=True)\nsys.stdin.readline()\n" + WORLD_PROGRAM],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    world.stdout.readline()
    run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "w0", "netns", str(world.pid))
    run("ip", "address", "add", f"{UPLINK}/24", "dev", "up0")
    run("ip", "link", "set", "up0", "up")
    inside = ["nsenter", f"--net=/proc/{world.pid}/ns/net"]
    run(*inside, "ip", "address", "add", f"{WORLD}/24", "dev", "w0")
    run(*inside, "ip", "link", "set", "w0", "up")
    run(*inside, "ip", "route", "add", "10.77.0.0/16", "via", UPLINK)
    world.stdin.write("go\n")
    world.stdin.flush()
    world.stdout.readline()
    return world


def attempt(taps, host, tag):
    """Makes all attempts. Returns {attempt: whether it succeeded}."""
    one, two = taps
    one.send(one.gateway, b"gateway " + tag)
    one.send(UPLINK, b"uplink " + tag)
    one.send(two.gateway, b"other gateway " + tag)
    one.send(two.guest, b"neighbour " + tag)
    one.send(WORLD, b"forged " + tag, source="10.77.9.9")
    one.send(WORLD, b"knock " + two.guest.encode())
    one.send(WORLD, b"hello " + tag)
    answers = []
    while not any(b"hello " + tag in answer for answer in answers):
        answers += one.receive(one_answer(one))
    # What the second guest is allowed follows what it must not get.
    two.send(WORLD, b"second " + tag)
    at_two = []
    while not any(b"second " + tag in payload for payload in at_two):
        at_two += two.receive(one_answer(two))
    at_host, text = host.got(), b" ".join(answers)
    return {
        "a guest reaches the service domain": any(payload.endswith(tag) for payload in at_host),
        "a guest reaches its neighbour": b"neighbour " + tag in at_two,
        "a forged address gets out": b"forged " + tag in text,
        "the world reaches a guest first": b"knock" in at_two,
    }, text


class one_answer:  # pylint: disable=invalid-name
    """Equals any answer of the world's server."""

    def __init__(self, tap):
        self.tap = tap

    def __eq__(self, payload):
        return payload.startswith(b"from ")

    __hash__ = None


def main():
    for path in ("all", "default"):
        with open(f"/proc/sys/net/ipv4/conf/{path}/rp_filter", "w", encoding="ascii") as setting:
            setting.write("0")
    run("ip", "link", "set", "lo", "up")
    world = make_world()
    try:
        taps = [Tap(name) for name in GUESTS]
        host = Listener()
        guarded, text = attempt(taps, host, b"guarded")
        if f"from {UPLINK} ".encode() not in text:
            raise AssertionError("what a guest sends does not leave by the uplink's address")
        for name in GUESTS:
            run("nft", "delete", "table", "inet", f"bulkhead-{name}")
        control, _ = attempt(taps, host, b"control")
    finally:
        world.kill()
    failed = [name for name, succeeded in guarded.items() if succeeded]
    failed += [f"control: not even without the rules: {name}" for name, succeeded in control.items() if not succeeded]
    print("\n".join(failed) or f"{len(guarded)} attempts fail; each succeeds without the rules")
    return 1 if failed else 0


if __name__ == "__main__":
    if os.environ.get("BULKHEAD_IN_NAMESPACE") != "1":
        os.environ["BULKHEAD_IN_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])
    sys.exit(main())

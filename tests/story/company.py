"""A whole company in one directory, for story tests: bulkhead-server on loopback, an administrator, PCs with agent,
vault and (if wanted) an emulated TPM whose state lies outside what a thief of the disk can copy.

A guest is a small program that stays until it is told to end: what an agent does with guests does not depend on what
runs in them. Its disks are served over NBD by the product's plugin; a test that plays the guest reads and writes there.
"""
import json
import os
import random
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from nbd import Nbd

BUILD = os.environ.get("BULKHEAD_BUILD", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build"))
PATIENCE = 60
PLACES = (0, 5 << 30)  # on a user disk, where a test that plays the guest leaves what it looks for later


class Failure(Exception):
    pass


def wait_for(what, true, seconds=PATIENCE):
    """Waits until `true()` is truthy and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = true()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s in vain for: {what}")
        time.sleep(0.05)


class Process:
    """One program of ours, its output in a file."""

    def __init__(self, name, command, log, **kwargs):
        self.name, self.command, self.log, self.kwargs = name, command, log, kwargs
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=open(self.log, "ab"), stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, **self.kwargs)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure(f"{self.name} does not end; see {self.log}")

    def output(self):
        with open(self.log, errors="replace") as file:
            return file.read()


def run(*command, env=None, stdin="", ok=True):
    """Runs a command; returns its output, or (ok=False) its exit status and stderr."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=PATIENCE * 5,
                          env=dict(os.environ, **(env or {})))
    if not ok:
        return done.returncode, done.stderr
    if done.returncode:
        raise Failure(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def program(name):
    return os.path.join(BUILD, {"bulkhead": "cli/bulkhead", "bulkhead-server": "server/bulkhead-server",
                                "bulkhead-agent": "agent/bulkhead-agent",
                                "bulkhead-keyd": "agent/bulkhead-keyd", "bulkhead-blk": "backends/bulkhead-blk",
                                "bulkhead-console": "backends/bulkhead-console",
                                "bulkhead.so": "backends/bulkhead.so"}[name])


def nbd_disk():
    """The agent's "disk" command that serves a guest's disks over NBD."""
    return ["nbdkit", "--foreground", "--unix", "%{socket}", program("bulkhead.so"), "state=%{state}", "key=%{key}",
            "control=%{control}", "store=%{store}?", "domain-key=%{domain_key}?", "version=%{version}?", "feed=%{feed}?",
            "trace=%{trace}?", "record=%{record}?", "layer=%{layer}?", "size=%{size}?"]


class Company:
    def __init__(self, directory, names=()):
        """`names`: by which else PCs reach the server, for its certificate."""
        self.directory = directory
        self.env = {"BULKHEAD_CONFIG": os.path.join(directory, "admin")}
        self.keys = os.path.join(directory, "keys")
        os.makedirs(self.env["BULKHEAD_CONFIG"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.server = Process("bulkhead-server",
                              [program("bulkhead-server"), "--data", os.path.join(directory, "server"), "--listen",
                               f"127.0.0.1:{self.port}", "--name", "localhost", "--attempts", "1000",
                               *(word for name in names for word in ("--name", name))],
                              os.path.join(directory, "server.log"))
        self.url = f"https://localhost:{self.port}"
        text = wait_for("the server's first words", lambda: "server login" in self.server.output() and
                        self.server.output())
        authority = text.split("certificate authority ")[1].split()[0]
        first = text.split("one-time password ")[1].split()[0]
        for name, word in (("first", first), ("password", "correct horse battery staple")):
            with open(os.path.join(directory, name), "w") as file:
                file.write(word + "\n")
        self.admin("server", "login", self.url, "--ca", authority, "--password-file", os.path.join(directory, "first"),
                   "--new-password-file", os.path.join(directory, "password"))
        self.admin("key", "setup", self.keys, "--no-passphrase")

    def publish(self, image, version, content, size=64 << 20, form="raw"):
        """Publishes a disk of `size` bytes with `content` at 1 MiB, from a file of that format."""
        path = os.path.join(self.directory, "image.raw")
        with open(path, "wb") as file:
            file.truncate(size)
            file.seek(1 << 20)
            file.write(content)
        if form != "raw":
            run("qemu-img", "convert", "-f", "raw", "-O", form, path, f"{path}.{form}")
            path = f"{path}.{form}"
        return self.admin("image", "publish", path, "--name", image, "--version", version, "--key",
                          self.key("images.key"))

    def kill_server(self):
        self.server.stop(signal.SIGKILL)

    def restart_server(self):
        if self.server.process.poll() is None:
            self.kill_server()
        self.server.start()
        wait_for("the server", lambda: self.answers())

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def key(self, name):
        return os.path.join(self.keys, name)

    def admin(self, *words, ok=True):
        return run(program("bulkhead"), *words, env=self.env, ok=ok)

    def token(self, user=None, server=None):
        words = ["device", "token", "--json"] + (["--user", user] if user else []) + (["--server", server] if server else [])
        return json.loads(self.admin(*words))["token"]

    def device(self, name):
        return next(d for d in json.loads(self.admin("device", "list", "--json")) if d["name"] == name)

    def stop(self):
        self.server.stop()


class PC:
    """A PC: vault, agent, and the command of its user."""

    def __init__(self, directory, name, tpm=False, personal=False, poll=1, extra=None):
        self.directory, self.name = os.path.join(directory, name), name
        self.run_directory = os.path.join(self.directory, "run")
        os.makedirs(self.run_directory)
        self.tpm = Tpm(os.path.join(directory, name + ".tpm")) if tpm else None
        self.keyd_socket = os.path.join(self.run_directory, "keyd")
        self.socket = os.path.join(self.run_directory, "agent")
        self.data = os.path.join(self.directory, "data")
        self.config = os.path.join(self.directory, "agent.json")
        config = {"data": self.data, "keyd": self.keyd_socket, "control": self.socket, "poll_seconds": poll,
                  "personal": personal, "disk": nbd_disk(),
                  "monitor": ["sh", "-c", "trap 'exit 0' TERM; echo \"$0 $1\" > %{directory}/started; "
                              "while :; do sleep 0.1; done", "%{name}", "%{release}"]}
        config.update(extra or {})
        with open(self.config, "w") as file:
            json.dump(config, file)
        words = [program("bulkhead-keyd"), "--vault", os.path.join(self.directory, "vault"), "--socket",
                 self.keyd_socket, "--test-quick-phrases", "--owner", "user" if personal else "company"]
        if tpm:
            words += ["--tpm", self.tpm.tcti]
        self.keyd = Process("bulkhead-keyd", words, os.path.join(directory, name + ".keyd.log"))
        wait_for("the vault's socket", lambda: os.path.exists(self.keyd_socket))
        self.agent = Process("bulkhead-agent", [program("bulkhead-agent"), "--config", self.config],
                             os.path.join(directory, name + ".agent.log"))
        wait_for("the agent's socket", lambda: os.path.exists(self.socket))

    def command(self, *words, stdin="", ok=True):
        return run(program("bulkhead"), *words, "--socket", self.socket, stdin=stdin, ok=ok)

    def enrol(self, company, user=None):
        self.command("enrol", "--name", self.name, stdin=company.token(user) + "\n")

    def status(self):
        return json.loads(self.command("agent", "--json"))

    def guests(self):
        return {g["name"]: g for g in json.loads(self.command("guest", "list", "--json"))}

    def disk(self, guest, kind="user"):
        """A running guest's disk, as the guest sees it."""
        return Nbd(os.path.join(self.run_directory, "agent.guests", guest, kind))

    def start(self, guest):
        self.command("guest", "start", guest)
        wait_for("the guest", lambda: self.guests()[guest]["state"] == "running")

    def end(self, guest, now=False):
        self.command("guest", "stop", guest, *(["--now"] if now else []))
        wait_for("the guest's end", lambda: self.guests()[guest]["state"] == "stopped")

    def read(self, guest, offset, size, kind="user"):
        disk = self.disk(guest, kind)
        data = disk.read(offset, size)
        disk.close()
        return data

    def write(self, guest, marks):
        """Writes pieces of data into a running guest's user disk, as the guest would."""
        disk = self.disk(guest)
        for offset, data in marks:
            disk.write(offset, data)
        disk.flush()
        disk.close()

    def sync(self):
        """News from the server come by themselves, every second."""
        return True

    def leave(self, guest, mark):
        """Writes a mark into a running guest's user disk, at its begin and far in."""
        self.write(guest, [(place, mark) for place in PLACES])

    def has(self, guest, mark):
        return all(self.read(guest, place, len(mark)) == mark for place in PLACES)

    def spill(self, guest):
        """Writes the newest backup of a guest's user disk out in plain; where."""
        path = os.path.join(self.directory, "plain")
        self.command("backup", "restore", guest, "--into", path)
        return path

    def around(self):
        """A command that looks at it."""
        return f"{program('bulkhead')} console --socket {self.socket}"

    def stop(self):
        self.agent.stop()
        self.keyd.stop()
        if self.tpm:
            self.tpm.stop()

    def restart_agent(self):
        self.agent.stop()
        self.agent.start()
        wait_for("the agent's socket", lambda: os.path.exists(self.socket))

    def go_through(self, port):
        """From now on the agent reaches its server through another port of this machine."""
        path = os.path.join(self.data, "enrolment.json")
        with open(path) as file:
            enrolment = json.load(file)
        enrolment["server"] = f"https://localhost:{port}"
        self.agent.stop()
        with open(path, "w") as file:
            json.dump(enrolment, file)
        self.agent.start()
        wait_for("the agent's socket", lambda: os.path.exists(self.socket))


class Proxy:
    """Listens on a port and hands every connection to `carry(client)` in a thread of its own."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.guard, args=(client,), daemon=True).start()

    def guard(self, client):
        try:
            self.carry(client)
        except (OSError, ssl.SSLError, ValueError):
            pass
        finally:
            client.close()

    def stop(self):
        self.listener.close()


class Lossy(Proxy):
    """Cuts a connection in the middle after a random number of bytes, again and again."""

    def __init__(self, port, bytes_before_cut, seed=1):
        self.upstream, self.mean, self.random, self.cuts = port, bytes_before_cut, random.Random(seed), 0
        super().__init__()

    def carry(self, client):
        server = socket.create_connection(("127.0.0.1", self.upstream))
        left = self.random.randrange(self.mean // 2, self.mean * 2)
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(16384)
                if not data:
                    return
                (server if source is client else client).sendall(data[:max(left, 0)])
                left -= len(data)
                if left <= 0:
                    self.cuts += 1
                    server.close()
                    return


class Recorder(Proxy):
    """Stands between one PC and the server, with the keys of both, and writes down every request it sees."""

    def __init__(self, company, pc):
        server, data = os.path.join(company.directory, "server"), pc.data
        self.upstream, self.requests, self.lock = company.port, [], threading.Lock()
        self.inward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found = [os.path.join(place, name) for place, _, names in os.walk(server) for name in names
                 if name == "server.pem"]
        self.inward.load_cert_chain(found[0])
        self.outward = ssl.create_default_context(cafile=os.path.join(data, "ca.pem"))
        self.outward.load_cert_chain(os.path.join(data, "device.crt"), os.path.join(data, "device.key"))
        super().__init__()

    def carry(self, client):
        with self.inward.wrap_socket(client, server_side=True) as inner, \
             self.outward.wrap_socket(socket.create_connection(("127.0.0.1", self.upstream)),
                                      server_hostname="localhost") as outer:
            while True:
                head, body = self.read_message(inner)
                with self.lock:
                    self.requests.append((head.split("\r\n")[0], body.decode("latin-1")))
                outer.sendall(head.encode("latin-1") + b"\r\n\r\n" + body)
                answer, body = self.read_message(outer)
                inner.sendall(answer.encode("latin-1") + b"\r\n\r\n" + body)

    @staticmethod
    def read_message(stream):
        text = b""
        while b"\r\n\r\n" not in text:
            data = stream.recv(65536)
            if not data:
                raise OSError("closed")
            text += data
        head, body = text.split(b"\r\n\r\n", 1)
        head = head.decode("latin-1")
        sizes = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
        while sizes and len(body) < int(sizes[0]):
            body += stream.recv(65536)
        return head, body

    def since(self, number):
        with self.lock:
            return self.requests[number:]


def is_listening(path):
    """Whether somebody waits for connections at a socket's path. Connecting, to find out, would be heard there."""
    with open("/proc/net/unix", encoding="ascii", errors="replace") as sockets:
        words = [line.split() for line in sockets]
    return any(len(word) == 8 and word[7] == path and int(word[3], 16) & 0x10000 for word in words[1:])


class Tpm:
    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory)
        run("swtpm_setup", "--tpm2", "--tpmstate", directory)
        self.start()

    def start(self):
        path = os.path.join(self.directory, "socket")
        self.tcti = f"swtpm:path={path}"
        self.process = Process("swtpm", ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.directory}", "--server",
                                         f"type=unixio,path={path}", "--ctrl", f"type=unixio,path={path}.ctrl",
                                         "--flags", "not-need-init"], self.directory + ".log")
        wait_for("the TPM's sockets", lambda: is_listening(path) and is_listening(path + ".ctrl"))

    def stop(self):
        self.process.stop(signal.SIGKILL)


def company_with_work(directory, keep, content=b"system one", size=None):
    """A company with a user, alice, to whom version 1 of the machine "work" is assigned."""
    company = Company(directory)
    keep(company)
    company.admin("user", "add", "alice")
    company.publish("work", "1", content, *([size] if size else []))
    company.admin("assign", "work", "--user", "alice")
    return company


def alices_pc(directory, keep, company, name="pc-1", **options):
    """A PC of hers, enrolled, on which "work" can start; `options` as PC takes them."""
    pc = PC(directory, name, **options)
    keep(pc)
    pc.enrol(company, "alice")
    wait_for("the guest's arrival", lambda: pc.guests().get("work", {}).get("release") == 1)
    return pc


def leased_pc(directory, keep):
    """A company and a PC that nobody is assigned to, whose vault is open."""
    company = Company(directory)
    keep(company)
    pc = PC(directory, "pc-1", tpm=True)
    keep(pc)
    pc.enrol(company)
    wait_for("a lease", lambda: pc.status()["vault"]["open"])
    return company, pc


def tell(tests):
    """Runs test functions, each in a fresh directory that it gets; prints TAP."""
    print(f"1..{len(tests)}")
    failed = 0
    for number, test in enumerate(tests, 1):
        directory = tempfile.mkdtemp(prefix="bulkhead-story-")
        things = []
        try:
            test(directory, things.append)
            print(f"ok {number} - {test.__name__}", flush=True)
        except Exception as problem:  # a story's failure is any surprise
            failed += 1
            print(f"not ok {number} - {test.__name__}", flush=True)
            print(f"# {type(problem).__name__}: {problem}", flush=True)
            for name in sorted(os.listdir(directory)):
                if name.endswith(".log"):
                    with open(os.path.join(directory, name), errors="replace") as file:
                        for line in file.read().splitlines()[-12:]:
                            print(f"# {name}: {line}", flush=True)
        for thing in reversed(things):
            try:
                thing.stop()
            except Exception as problem:
                print(f"# {problem}", flush=True)
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if failed else 0)

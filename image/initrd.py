"""Writes initial RAM disks: a cpio archive (newc) made in memory, byte for byte the same for the same input.

One class, `Initrd`. Nothing is unpacked or owned on the building machine, so no root is needed; device nodes and
owners exist only in the archive. Both the product's initrd (image/build) and the machine tests' quick system use it.
"""
import lzma
import os
import subprocess

S_IFDIR, S_IFREG, S_IFLNK, S_IFCHR = 0o040000, 0o100000, 0o120000, 0o020000

# Applets that the quick system and its cases may call by name; each is one link to the same static program.
APPLETS = """sh ash awk basename cat chmod chroot cmp cp cut date dd devmem dmesg echo env expr false find free grep halt head
hexdump hostname httpd id ifconfig insmod ip kill ln losetup ls lsmod md5sum mkdir mkfifo mknod modprobe mount mv nc nsenter od ping poweroff
printf ps pwd readlink reboot rm rmdir rmmod sed seq setsid sha256sum sleep sort stat stty switch_root sync tail taskset tee test
time timeout touch tr true udhcpc umount uname uniq unshare uptime usleep vi wc wget xargs xxd yes""".split()


class Initrd:
    """A tree of files in memory. `add` and friends make missing parent folders."""

    def __init__(self):
        self.entries = {}

    def _put(self, path, mode, data=b"", device=(0, 0)):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self._put(parent, S_IFDIR | 0o755)
        self.entries[path] = (mode, data, device)

    def folder(self, path, mode=0o755):
        self._put(path, S_IFDIR | mode)

    def text(self, path, content, mode=0o644):
        self._put(path, S_IFREG | mode, content.encode())

    def file(self, path, source, mode=None):
        """Copies the file `source`; it stays executable if it was."""
        with open(source, "rb") as stream:
            data = stream.read()
        if mode is None:
            mode = 0o755 if os.access(source, os.X_OK) else 0o644
        self._put(path, S_IFREG | mode, data)

    def link(self, path, target):
        self._put(path, S_IFLNK | 0o777, target.encode())

    def node(self, path, major, minor, mode=0o600):
        self._put(path, S_IFCHR | mode, device=(major, minor))

    def program(self, path, source):
        """Copies a program and, if it is dynamic, the libraries that ldd names."""
        self.file(path, source, 0o755)
        listed = subprocess.run(["ldd", source], capture_output=True, text=True, check=False)
        for line in listed.stdout.splitlines() if listed.returncode == 0 else []:
            for word in line.split():
                if word.startswith("/") and word.strip("/") not in self.entries:
                    self.file(word, os.path.realpath(word), 0o755)

    def busybox(self, source="/usr/bin/busybox"):
        if not os.path.exists(source):
            source = "/bin/busybox"
        self.file("bin/busybox", source, 0o755)
        for applet in APPLETS:
            self.link(f"bin/{applet}", "busybox")
        for folder in ("dev", "proc", "sys", "tmp", "run", "mnt"):
            self.folder(folder)
        # Without it the kernel has no console to give to init before devtmpfs is mounted.
        self.node("dev/console", 5, 1)

    def modules(self, kernel, names, extra=()):
        """Adds kernel modules with what they depend on and lists them, in loading order, in /lib/modules/order.

        `kernel` is the folder image/kernel made. Names that are built into that kernel are skipped; an unknown name
        raises KeyError. `extra` are .ko files of our own, added but not listed: they are loaded on demand.
        """
        with open(os.path.join(kernel, "version"), encoding="ascii") as file:
            version = file.read().strip()
        root = os.path.join(kernel, "lib/modules", version)
        needs, builtin = _module_tables(root)
        order = []

        def visit(name):
            if name in builtin or name in order:
                return
            for dependency in needs[name][1]:
                visit(dependency)
            if name not in order:
                order.append(name)

        for name in names:
            visit(name.replace("-", "_"))
        for name in order:
            self._module(name, needs[name][0])
        for path in extra:
            self.file(f"lib/modules/{os.path.basename(path)}", path, 0o644)
        self.text("lib/modules/order", "".join(f"{name}\n" for name in order))

    def _module(self, name, source):
        """Adds one module, unpacked: the whole initrd may be compressed later, once."""
        with open(source, "rb") as file:
            data = file.read()
        if source.endswith(".xz"):
            data = lzma.decompress(data)
        self._put(f"lib/modules/{name}.ko", S_IFREG | 0o644, data)

    def archive(self):
        """The archive's bytes, padded to 512 as cpio does."""
        parts = []
        for number, path in enumerate(sorted(self.entries)):
            mode, data, device = self.entries[path]
            parts.append(_record(path, mode, data, device, number + 1))
        parts.append(_record("TRAILER!!!", 0, b"", (0, 0), 0))
        whole = b"".join(parts)
        return whole + bytes(-len(whole) % 512)

    def write(self, path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "wb") as file:
            file.write(self.archive())
        os.replace(temporary, path)
        return path


def _record(path, mode, data, device, inode):
    name = path.encode() + b"\0"
    links = 2 if mode & S_IFDIR and not mode & S_IFREG else 1
    fields = [inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(name), 0]
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    header += bytes(-len(header) % 4)
    return header + data + bytes(-len(data) % 4)


def _module_tables(root):
    """Reads depmod's tables: {name: (file, [names it needs first])} and the set of built-in names."""
    def name_of(path):
        return os.path.basename(path).split(".ko")[0].replace("-", "_")

    needs = {}
    with open(os.path.join(root, "modules.dep"), encoding="utf-8") as file:
        for line in file:
            target, _, rest = line.partition(":")
            # modules.dep names direct and indirect needs, the last first to be loaded.
            needs[name_of(target)] = (os.path.join(root, target), [name_of(word) for word in reversed(rest.split())])
    with open(os.path.join(root, "modules.builtin"), encoding="utf-8") as file:
        builtin = {name_of(line.strip()) for line in file if line.strip()}
    return needs, builtin

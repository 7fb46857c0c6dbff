"""The tests' own small guest (tests/machine/guest) and what a PC needs to run it with the monitor."""
import atexit
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile

import pc
import quick
import initrd as ramdisk  # image/initrd.py: pc has put image/ on the path


# Modules of a guest that has all the devices there are.
DEVICES = ("virtio_net", "virtio_rng", "virtio_console", "virtio_balloon", "af_packet", "button", "evdev", "ib700wdt")


def guest_initrd(modules=()):
    """Writes the guest's initrd, with more modules than a disk takes; returns its path."""
    tree = ramdisk.Initrd()
    tree.busybox()
    tree.modules(quick.kernel_folder(), ["virtio_pci", "virtio_blk", *modules],
                 extra=[path for path in quick.our_modules() if "ring0" in path])
    tree.file("init", os.path.join(pc.ROOT, "tests/machine/guest/init"), 0o755)
    tree.program("bin/ring0", os.path.join(quick.build_folder(), "tests/machine/inside/ring0"))
    return tree.write(os.path.join(pc.WORK, "guest-devices.initrd" if modules else "guest.initrd"))


def on_kvm():
    """Files of a PC whose Linux runs the guest with the monitor."""
    return {
        "bin/monitor": os.path.join(quick.build_folder(), "monitor/monitor"),
        "bin/qemu-storage-daemon": shutil.which("qemu-storage-daemon"),
        "guest/vmlinuz": os.path.join(quick.kernel_folder(), "vmlinuz"),
        "guest/initrd": guest_initrd(),
    }


def with_vaults():
    """Files of a PC whose vaults are asked for keys of guests."""
    programs = {"bulkhead-keyd": "agent/bulkhead-keyd", "key_asker": "tests/machine/inside/key_asker"}
    return {**on_kvm(), **{f"bin/{name}": os.path.join(quick.build_folder(), path) for name, path in programs.items()}}


def debian_disk():
    """The Debian machine image that guests with firmware boot; made once from each recipe. Returns its path."""
    recipe = hashlib.sha256()
    for name in ("image/guest/build", "image/guest/customize", *(f"guest/{file}" for file in sorted(os.listdir(
            os.path.join(pc.ROOT, "guest"))))):
        with open(os.path.join(pc.ROOT, name), "rb") as file:
            recipe.update(file.read())
    path = os.path.join(pc.WORK, f"debian-{recipe.hexdigest()[:8]}.img")
    os.makedirs(pc.WORK, exist_ok=True)
    with open(os.path.join(pc.WORK, "debian.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another row may be making it
        if not os.path.exists(path):
            subprocess.run([os.path.join(pc.ROOT, "image/guest/build"), "--output", path], check=True,
                           stdout=subprocess.DEVNULL)
    return path


OVMF = os.environ.get("GUEST_OVMF", "/usr/share/ovmf/OVMF.fd")
DESCRIPTOR_CONTEXT = b"bulkhead guest descriptor 3\n"


def describe_firmware_guest():
    """Writes a descriptor of the guest with firmware, one processor, 512 MiB and one disk, signed by a new key, and that
    key; returns both paths, which last as long as this process. OpenSSL signs: the code under test only checks."""
    os.makedirs(pc.WORK, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="descriptor-", dir=pc.WORK)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    configuration, text, key, signed, descriptor, public = (os.path.join(folder, name) for name in (
        "guest.conf", "text", "key.pem", "signature", "descriptor", "descriptor.key"))
    with open(configuration, "w", encoding="ascii") as file:
        file.write(f"name = test\nmemory = 512M\nprocessors = 1\nfirmware = {OVMF}\ndisk = /nowhere\n")
    measured = subprocess.run([os.path.join(quick.build_folder(), "monitor/monitor"), "--measure", configuration],
                              check=True, capture_output=True, text=True).stdout.strip()
    lines = f"memory 512\nprocessors 1\nnetwork no\nguest-agent no\nmeasurement {measured}\n"
    with open(text, "wb") as file:
        file.write(DESCRIPTOR_CONTEXT + lines.encode())
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", text, "-out", signed], check=True)
    with open(signed, "rb") as file, open(descriptor, "w", encoding="ascii") as out:
        out.write(f"{lines}signature {file.read().hex()}\n")
    der = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True,
                         capture_output=True).stdout
    with open(public, "w", encoding="ascii") as file:
        file.write(der[-32:].hex() + "\n")
    return descriptor, public


def by_firmware():
    """Files of a PC whose Linux runs guests that start by firmware."""
    descriptor, key = describe_firmware_guest()
    return dict(on_kvm(), **{"guest/OVMF.fd": OVMF, "guest/descriptor": descriptor, "guest/descriptor.key": key,
                             "bin/bulkhead-console": os.path.join(quick.build_folder(), "backends/bulkhead-console")})


def debian_disks(count):
    """A function that returns the arguments of a PC with `count` disks debian1 ..., each the machine image; what is
    written to them is forgotten with the PC."""
    def arguments():
        return [word for number in range(1, count + 1) for word in (
            "-drive", f"if=none,id=debian{number},format=raw,snapshot=on,cache=unsafe,file={debian_disk()}",
            "-device", f"nvme,drive=debian{number},serial=debian{number}")]
    return arguments


def mirror():
    """Makes a Debian archive of one package, whose one program says that it has come; returns the folder."""
    folder = os.path.join(pc.WORK, "mirror")
    shutil.rmtree(folder, ignore_errors=True)
    tree = os.path.join(folder, "tree")
    for name, text in (("DEBIAN/control", "Package: arrived\nVersion: 1\nArchitecture: all\n"
                                          "Maintainer: nobody <nobody@example.org>\nDescription: says so\n"),
                       ("usr/bin/arrived", "#!/bin/sh\necho it has come all the way\n")):
        path = os.path.join(tree, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    os.chmod(os.path.join(tree, "usr/bin/arrived"), 0o755)
    package = os.path.join(folder, "arrived.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, package], check=True, stdout=subprocess.DEVNULL)
    control = subprocess.run(["dpkg-deb", "--field", package], check=True, capture_output=True, text=True).stdout
    with open(package, "rb") as file:
        content = file.read()
    with open(os.path.join(folder, "Packages"), "w", encoding="ascii") as file:
        file.write(f"{control}Filename: ./arrived.deb\nSize: {len(content)}\n"
                   f"SHA256: {hashlib.sha256(content).hexdigest()}\n\n")
    return folder


# Modules and files of a PC whose service domain gives a guest all its devices.
SERVING = ("crc32c_generic", "tun", "veth", "nf_tables", "nft_chain_nat", "nft_masq", "nft_ct")


def with_devices():
    backends = os.path.join(quick.build_folder(), "backends")
    files = {f"bin/{name}": os.path.join(backends, name) for name in ("bulkhead-net", "bulkhead-entropy", "bulkhead-console")}
    files["bin/bulkhead-net-setup"] = os.path.join(pc.ROOT, "backends/bulkhead-net-setup")
    # busybox's shell prefers its own ip, which makes no taps.
    files["bin/sh"] = shutil.which("dash")
    files["bin/ip"] = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    files["bin/nft"] = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    return {**on_kvm(), **files, "guest/initrd": guest_initrd(DEVICES)}


def with_mirror():
    folder = mirror()
    archive = {f"mirror/{name}": os.path.join(folder, name) for name in ("arrived.deb", "Packages")}
    return {**with_devices(), **by_firmware(), **archive}

#!/usr/bin/env python3
"""Images in and out through the command, as a person would: honest images of every format keep their bytes, hostile
ones of every format are refused in one line, leave nothing behind, and take neither long nor much memory."""
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import zlib

BULKHEAD = sys.argv[1]
MIB = 1 << 20
failures = 0
number = 0


def report(name, wrong):
    global failures, number
    number += 1
    failures += bool(wrong)
    print(f"{'not ok' if wrong else 'ok'} {number} - {name}" + (f"\n# {wrong}" if wrong else ""), flush=True)


def run(*arguments):
    return subprocess.run([BULKHEAD, "image", *arguments], capture_output=True, text=True, timeout=60, check=False)


def qemu_img(*arguments):
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def patch(data, at, replacement):
    return data[:at] + replacement + data[at + len(replacement):]


def tar_entry(name, data, kind=b"0", size=None, prefix=b"", sum_off=0):
    header = bytearray(512)
    header[0:len(name)] = name
    header[100:108] = b"0000644\0"
    header[124:136] = b"%011o\0" % (len(data) if size is None else size)
    header[148:156] = b" " * 8
    header[156:157] = kind
    header[257:265] = b"ustar\00000"
    header[345:345 + len(prefix)] = prefix
    header[148:156] = b"%06o\0 " % (sum(header) + sum_off)
    return bytes(header) + data + bytes(-len(data) % 512)


def ovf(href="disk.vmdk", head="", extra="", disks=1):
    files = "".join(f'<File ovf:id="f{i}" ovf:href="{href}"/>' for i in range(disks))
    parts = "".join(f'<Disk ovf:diskId="d{i}" ovf:fileRef="f{i}" ovf:capacity="8"'
                    ' ovf:capacityAllocationUnits="byte * 2^20"/>' for i in range(disks))
    return (f'<?xml version="1.0"?>{head}<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"'
            ' xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/'
            'cim-schema/2/CIM_ResourceAllocationSettingData">'
            f'<References>{files}</References><DiskSection>{parts}</DiskSection><VirtualSystem ovf:id="desk">'
            '<VirtualHardwareSection><Item><rasd:ResourceType>3</rasd:ResourceType>'
            '<rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item><Item><rasd:AllocationUnits>byte * 2^20'
            '</rasd:AllocationUnits><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>2048'
            f'</rasd:VirtualQuantity></Item></VirtualHardwareSection></VirtualSystem>{extra}</Envelope>').encode()


def ova(vmdk, description=None, *more):
    return tar_entry(b"desk.ovf", ovf() if description is None else description) + \
        tar_entry(b"disk.vmdk", vmdk) + b"".join(more) + bytes(1024)


def vhd_sum(data, at, size, sum_at):
    part = bytearray(data[at:at + size])
    part[sum_at:sum_at + 4] = bytes(4)
    return patch(data, at + sum_at, struct.pack(">I", ~sum(part) & 0xffffffff))


def honest(folder):
    """A disk with data in odd places, as every format."""
    raw = bytearray(8 * MIB)
    dice = random.Random(7)
    for at in (0, 4096 * 3, 5 * MIB - 512, 8 * MIB - 4096):
        raw[at:at + 4096] = dice.randbytes(4096)[:len(raw[at:at + 4096])]
    write(f"{folder}/disk.raw", raw)
    images = {"raw": f"{folder}/disk.raw"}
    for format_, driver, options in (("qcow2", "qcow2", []), ("vhd", "vpc", ["-o", "force_size=on"]),
                                     ("vhd-fixed", "vpc", ["-o", "subformat=fixed,force_size=on"]),
                                     ("vhdx", "vhdx", []), ("vmdk", "vmdk", []),
                                     ("vmdk-stream", "vmdk", ["-o", "subformat=streamOptimized"]),
                                     ("qcow2-zstd", "qcow2", ["-c", "-o", "compression_type=zstd"]),
                                     ("qcow2-v2", "qcow2", ["-o", "compat=0.10"])):
        images[format_] = f"{folder}/disk.{format_}"
        qemu_img("convert", "-f", "raw", "-O", driver, *options, images["raw"], images[format_])
    stream = read(images["vmdk-stream"])
    # As appliance tools write it: the directory's place is known only at the end, so only the footer has it.
    marker = struct.pack("<QII", 1, 0, 3) + bytes(496)
    images["vmdk-footer"] = f"{folder}/disk.vmdk-footer"
    write(images["vmdk-footer"], patch(stream, 56, b"\xff" * 8) + marker + stream[:512] + bytes(512))
    images["ova"] = f"{folder}/disk.ova"
    digest = subprocess.run(["sha256sum", images["vmdk-stream"]], capture_output=True, text=True,
                            check=True).stdout.split()[0]
    write(images["ova"], ova(stream, None, tar_entry(b"desk.mf", f"SHA256(disk.vmdk)= {digest}\n".encode())))
    os.mkdir(f"{folder}/loose")
    images["ovf"] = f"{folder}/loose/desk.ovf"
    write(images["ovf"], ovf())
    write(f"{folder}/loose/disk.vmdk", stream)
    return bytes(raw), images


def hostile(folder, images):
    """Yields (what, bytes or path, words the refusal has)."""
    qcow2, vhd, vhdx = read(images["qcow2"]), read(images["vhd"]), read(images["vhdx"])
    vmdk, stream = read(images["vmdk"]), read(images["vmdk-stream"])
    secret = f"{folder}/secret"
    write(secret, b"top secret" * 1000)
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", f"{folder}/backed", "1M")
    yield "qcow2 with a backing file", read(f"{folder}/backed"), "backing file"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={secret}.2", f"{folder}/data", "1M")
    yield "qcow2 with an external data file", read(f"{folder}/data"), "another file"
    yield "qcow2 with the data file's name only", patch(qcow2, 112, struct.pack(">II", 0x44415441, 8) + b"/etc/pwd"), \
        "another file"
    yield "qcow2, encrypted", patch(qcow2, 32, struct.pack(">I", 2)), "encrypted"
    yield "qcow2 of 2^63 bytes", patch(qcow2, 24, struct.pack(">Q", 1 << 63)), "more than the limit"
    yield "qcow2 of 4 TiB", patch(qcow2, 24, struct.pack(">Q", 4 << 40)), "L1"
    yield "qcow2 with clusters of 2^63", patch(qcow2, 20, struct.pack(">I", 63)), "clusters"
    yield "qcow2 with a giant L1 table", patch(qcow2, 36, struct.pack(">I", 0xffffffff)), "L1"
    yield "qcow2 with its L1 table outside", patch(qcow2, 40, struct.pack(">Q", 1 << 60)), "outside the file"
    yield "qcow2 with a giant refcount table", patch(qcow2, 56, struct.pack(">I", 0xffffffff)), "refcount"
    yield "qcow2 marked corrupt", patch(qcow2, 72, struct.pack(">Q", 2)), "corrupt"
    yield "qcow2 with unknown features", patch(qcow2, 72, struct.pack(">Q", 1 << 40)), "features"
    yield "qcow2 with an L2 table outside", patch(qcow2, struct.unpack(">Q", qcow2[40:48])[0],
                                                  struct.pack(">Q", 1 << 63 | 1 << 50)), "check"
    yield "qcow2 cut in its header", qcow2[:50], "cut short"
    footer = len(vhd) - 512
    yield "VHD with a wrong sum", patch(vhd, footer + 20, b"evil"), "checksum"
    differs = vhd_sum(patch(vhd, footer + 60, struct.pack(">I", 4)), footer, 512, 64)
    yield "VHD that differs from a parent", differs, "parent"
    huge = vhd_sum(patch(vhd, footer + 48, struct.pack(">Q", 1 << 62)), footer, 512, 64)
    yield "VHD of 2^62 bytes", huge, "more than a VHD"
    table = vhd_sum(patch(vhd, 512 + 28, struct.pack(">I", 0xffffffff)), 512, 1024, 36)
    yield "VHD with a giant table", table, "table"
    away = vhd_sum(patch(vhd, 512 + 16, struct.pack(">Q", 1 << 62)), 512, 1024, 36)
    yield "VHD with its table outside", away, "outside the file"
    yield "VHD cut short", vhd[:-700], "has no format|checksum"
    fixed = read(images["vhd-fixed"])
    yield "fixed VHD whose data is another VHD", vhd[:512] + fixed[512:], "two VHDs|differ"
    yield "VHDX with broken headers", patch(patch(vhdx, 0x10010, b"evil"), 0x20010, b"evil"), "header"
    yield "VHDX with broken region tables", patch(patch(vhdx, 0x30010, b"evil"), 0x40010, b"evil"), "region"
    metadata = vhdx.index(b"metadata")
    yield "VHDX without its metadata", patch(vhdx, metadata, b"METADATA"), "metadata"
    yield "VHDX cut short", vhdx[:0x38000], "damaged"
    yield "VHDX with a thousand items", patch(vhdx, metadata + 10, b"\xff\xff"), "metadata"
    text = vmdk.index(b"# Disk Desc")
    yield "VMDK with a parent", vmdk.replace(b"parentCID=ffffffff", b"parentCID=12345678"), "parent"
    end = vmdk.index(b"\0", text)
    hint = b'parentFileNameHint="/etc/passwd"\n'
    yield "VMDK with a parent's name", patch(vmdk, text + 24, hint), "parent"
    yield "VMDK with a parent's name far behind", patch(vmdk, end, b"\n" * 8000 + hint), "parent"
    yield "VMDK of other files", vmdk.replace(b" SPARSE ", b" FLAT   "), "other files"
    yield "VMDK that is only a description", b"# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n" \
        b'createType="monolithicFlat"\nRW 8 FLAT "/etc/passwd" 0\n', "other files"
    yield "VMDK of no size", patch(vmdk, 12, bytes(8)), "capacity"
    yield "VMDK of 2^63 sectors", patch(vmdk, 12, struct.pack("<Q", 1 << 63)), "2\\^64"
    yield "VMDK of 2^40 sectors", patch(vmdk, 12, struct.pack("<Q", 1 << 40)), "limit"
    yield "VMDK with giant grains", patch(vmdk, 20, struct.pack("<Q", 1 << 40)), "grains"
    yield "VMDK with its directory outside", patch(vmdk, 56, struct.pack("<Q", 1 << 40)), "outside the file"
    yield "stream VMDK without its footer", read(images["vmdk-footer"])[:-1024], "footer"
    yield "stream VMDK with broken data", patch(stream, 0x10000 + 12, b"\xff" * 64), "refused by qemu-img|check"
    plain = ova(stream)
    yield "OVA cut short", plain[:4096], "cut short"
    yield "OVA with a wrong header sum", tar_entry(b"desk.ovf", ovf(), sum_off=1) + bytes(1024), "header"
    yield "OVA with a path", tar_entry(b"desk.ovf", ovf()) + tar_entry(b"../disk.vmdk", stream) + bytes(1024), "name"
    yield "OVA with an absolute path", tar_entry(b"desk.ovf", ovf()) + tar_entry(b"/etc/x", b"x") + bytes(1024), "name"
    yield "OVA with a link", tar_entry(b"desk.ovf", ovf()) + tar_entry(b"disk.vmdk", b"", b"2") + bytes(1024), \
        "plain files"
    yield "OVA with folders", tar_entry(b"desk.ovf", ovf()) + tar_entry(b"d", b"", b"0", None, b"etc") + bytes(1024), \
        "folders"
    yield "OVA with a giant file", tar_entry(b"desk.ovf", ovf()) + tar_entry(b"disk.vmdk", b"", b"0", 8 ** 11 - 1) + \
        bytes(1024), "does not fit"
    yield "OVA with a name twice", ova(stream, None, tar_entry(b"disk.vmdk", b"x")), "twice"
    yield "OVA of a thousand files", b"".join(tar_entry(b"f%d" % i, b"") for i in range(1000)), "more than 64"
    yield "OVA without description", tar_entry(b"disk.vmdk", stream) + bytes(1024), "description"
    yield "OVA whose disk is missing", tar_entry(b"desk.ovf", ovf()) + bytes(1024), "lacks the disk"
    yield "OVA with two disks", ova(stream, ovf(disks=2)), "--disk"
    yield "OVA whose disk is a path", ova(stream, ovf(href="../../etc/passwd")), "plain file name"
    yield "OVA whose disk is an address", ova(stream, ovf(href="http://x/y")), "plain file name"
    yield "OVA with external entities", ova(stream, ovf(
        head='<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', extra="&e;")), "document type"
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(12))
    yield "OVA with a billion laughs", ova(stream, ovf(head=f"<!DOCTYPE x [{laughs}]>", extra="&l11;")), \
        "document type"
    yield "OVA with endless nesting", ova(stream, ovf(extra="<a>" * 100000)), "nests"
    yield "OVA with a giant description", ova(stream, ovf(extra=" " * (2 * MIB))), "larger than"
    yield "OVA with a wrong checksum", ova(stream, None, tar_entry(b"desk.mf", b"SHA256(disk.vmdk)= " + b"0" * 64)), \
        "checksum"
    yield "OVA whose VMDK has a parent", ova(vmdk.replace(b"parentCID=ffffffff", b"parentCID=12345678")), "parent"
    yield "OVA with qcow2 for VMDK", ova(read(f"{folder}/backed")), "VMDK"
    yield "no format at all", os.urandom(10000), "known"
    yield "an empty file", b"", "known"
    os.mkfifo(f"{folder}/fifo")
    yield "a pipe", f"{folder}/fifo", "neither"
    yield "a folder", folder, "neither|directory"


def keeps_bytes(folder):
    raw, images = honest(folder)
    for name, path in images.items():
        result = run("import", path, f"{folder}/out.raw", "--replace")
        wrong = result.stderr if result.returncode else ""
        if not wrong and read(f"{folder}/out.raw") != raw:
            wrong = "the raw disk differs"
        if not wrong and os.stat(f"{folder}/out.raw").st_blocks * 512 > MIB:
            wrong = "the raw disk is not sparse"
        report(f"{name} comes in with its bytes", wrong)
    for ending, driver in (("raw", "raw"), ("qcow2", "qcow2"), ("vhd", "vpc")):
        output = f"{folder}/export.{ending}"
        result = run("export", images["raw"], output)
        wrong = result.stderr
        if not wrong:
            options = "driver=vpc,force_size_calc=current_size," if driver == "vpc" else f"driver={driver},"
            qemu_img("convert", "--image-opts", "-O", "raw", f"{options}file.filename={output}", f"{output}.back")
            wrong = "" if read(f"{output}.back") == raw else "the exported disk differs"
        report(f"{ending} goes out with its bytes", wrong)
        report(f"{ending} does not replace a file unasked", run("export", images["raw"], output).returncode == 0)
    machine = run("inspect", images["ova"], "--json").stdout
    report("an OVA's machine is read", "" if '"processors": 2' in machine and '2147483648' in machine else machine)
    return images


def refuses(folder, images):
    import re
    out = f"{folder}/refused"
    os.mkdir(out)
    for what, content, words in hostile(folder, images):
        path = content
        if isinstance(content, bytes):
            path = f"{folder}/hostile"
            write(path, content)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = run("import", path, f"{out}/raw")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wrong = ""
        if result.returncode != 1:
            wrong = f"status {result.returncode}: {result.stderr}"
            run("import", images["raw"], f"{out}/raw", "--replace")
            os.unlink(f"{out}/raw")
        elif result.stderr.count("\n") != 1 or not re.search(words, result.stderr):
            wrong = f"said: {result.stderr}"
        elif os.listdir(out):
            wrong = f"left {os.listdir(out)}"
            for name in os.listdir(out):
                os.unlink(f"{out}/{name}")
        elif after.ru_utime - before.ru_utime > 20:
            wrong = "took more than 20 s of processor time"
        report(f"refused: {what}", wrong)


def survives_noise(folder, images):
    """Random damage of every format: any answer but a crash, a hang, or a file left behind by a failure."""
    dice = random.Random(42)
    for name in ("qcow2", "vhd", "vhdx", "vmdk", "vmdk-stream", "ova"):
        data, wrong = read(images[name]), ""
        for _ in range(6):
            spoilt = bytearray(data)
            for _ in range(dice.randrange(1, 20)):
                spoilt[dice.randrange(min(len(spoilt), 200 << 10))] = dice.randrange(256)
            write(f"{folder}/noise.img", spoilt)
            result = run("import", f"{folder}/noise.img", f"{folder}/noise.raw", "--replace", "--format",
                         name.split("-")[0])
            if result.returncode not in (0, 1) or (result.returncode == 1 and result.stderr.count("\n") != 1):
                wrong = f"status {result.returncode}: {result.stderr}"
        report(f"{name} with random damage", wrong)


def sandbox_sees_nothing(folder, images):
    """The control for what hides other files: without it, the same tool reads the secret through a backing file."""
    qemu_img("create", "-f", "qcow2", "-b", f"{folder}/secret", "-F", "raw", f"{folder}/leak", "1M")
    qemu_img("convert", "-O", "raw", f"{folder}/leak", f"{folder}/leaked")
    report("control: qemu-img alone follows a backing file", "" if b"top secret" in read(f"{folder}/leaked")
           else "it did not")


IDENTITY = {"etc/machine-id": b"0123456789abcdef-machine\n", "etc/hostname": b"the-golden-pc\n",
            "etc/ssh/ssh_host_ed25519_key": b"PRIVATE KEY OF THE GOLDEN IMAGE\n" * 300,
            "etc/ssh/ssh_host_rsa_key.pub": b"ssh-rsa PUBLIC\n", "var/log/syslog": b"what the builder did\n" * 900,
            "var/log/journal/abc/system.journal": b"journal" * 5000, "var/lib/systemd/random-seed": b"seed" * 128,
            "root/.bash_history": b"cat /etc/shadow\n"}
KEPT = {"etc/passwd": b"root:x:0:0::/root:/bin/sh\n", "etc/ssh/sshd_config": b"Port 22\n", "home/ada/notes": b"mine\n",
        "usr/bin/tool": b"#!/bin/sh\n" * 999}


def identity_goes(folder):
    """`image prepare` on a disk with a GPT, whose root starts at 1 MiB."""
    tree, part, disk = f"{folder}/tree", f"{folder}/part", f"{folder}/golden.raw"
    for name, content in {**IDENTITY, **KEPT}.items():
        os.makedirs(os.path.dirname(f"{tree}/{name}"), exist_ok=True)
        write(f"{tree}/{name}", content)
    os.makedirs(f"{tree}/etc/systemd/system")
    write(part, bytes(30 * MIB))
    subprocess.run(["mkfs.ext4", "-q", "-d", tree, part], check=True)
    write(disk, bytes(32 * MIB))
    subprocess.run(["sfdisk", "-q", disk], input="label: gpt\nstart=2048, size=61440\n", text=True, check=True)
    with open(disk, "r+b") as file:
        file.seek(MIB)
        file.write(read(part))
    report("control: the secrets are in the disk before", "" if b"PRIVATE KEY OF" in read(disk) else "they are not")
    result = run("prepare", disk, f"{folder}/prepared.raw", "--json")
    data = read(f"{folder}/prepared.raw") if not result.returncode else b""
    report("a disk with a GPT is prepared", result.stderr)
    left = [text for text in (b"PRIVATE KEY OF", b"what the builder did", b"journaljournal", b"cat /etc/shadow")
            if text in data]
    report("what was removed is nowhere in the disk", f"left: {left}" if left or not data else "")
    write(part, data[MIB:31 * MIB])
    check = subprocess.run(["e2fsck", "-fn", part], capture_output=True, text=True, check=False)
    report("the file system is whole", check.stdout if check.returncode else "")

    def cat(name):
        return subprocess.run(["debugfs", "-R", f"cat /{name}", part], capture_output=True, check=False).stdout

    report("everything else stays", "" if all(cat(name) == content for name, content in KEPT.items()) else "it changed")
    stat = subprocess.run(["debugfs", "-R", "stat /etc/machine-id", part], capture_output=True, text=True,
                          check=False).stdout
    report("an empty machine-id waits for the first start", "" if "Size: 0" in stat and "Mode:  0444" in stat else stat)
    # What image/guest/build gives its own images, byte for byte: a disk may have passed through both.
    for what, name, put in (("homes move to the user disk", "bulkhead-home", "usr/lib/bulkhead/bulkhead-home"),
                            ("at the start", "bulkhead-home.service", "etc/systemd/system/bulkhead-home.service"),
                            ("a guest agent is bound", "qemu-guest-agent.conf",
                             "etc/systemd/system/qemu-guest-agent.service.d/bulkhead.conf")):
        with open(os.path.join(os.path.dirname(__file__), "../../../guest", name), "rb") as file:
            report(what, "" if cat(put) == file.read() else f"/{put} is another")
    report("no file is left over", "" if not [n for n in os.listdir(folder) if n.endswith(".part")] else "one is")
    result = run("prepare", f"{folder}/disk.raw", f"{folder}/other.raw")
    report("a disk without ext4 root is refused", "" if result.returncode == 1 and "ext4" in result.stderr and
           not os.path.exists(f"{folder}/other.raw") else result.stderr)
    damaged = bytearray(read(disk))
    damaged[512 + 80] = 0xff
    write(f"{folder}/damaged.raw", damaged)
    result = run("prepare", f"{folder}/damaged.raw", f"{folder}/other.raw")
    report("a damaged GPT is refused", "" if result.returncode == 1 and "GPT" in result.stderr else result.stderr)


def main():
    with tempfile.TemporaryDirectory() as folder:
        images = keeps_bytes(folder)
        refuses(folder, images)
        survives_noise(folder, images)
        sandbox_sees_nothing(folder, images)
        identity_goes(folder)
    print(f"1..{number}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

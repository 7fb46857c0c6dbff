"""What leaves the building machine: the installer's medium and signed updates of the service domain's system.

A *release* is a number, a system (squashfs with its dm-verity tree behind it) and a boot file that holds the tree's root
hash, so the boot file decides which system runs, wherever it lies. The manifest names both by SHA-256 and says what
PCR 4 of a TPM will be when firmware starts that boot file: a PC seals its data partition's key to it before it starts
a new release for the first time. The platform's Ed25519 key signs the manifest; the system carries the public half.
"""
import hashlib
import io
import os
import shutil
import struct
import subprocess
import tarfile

import disk
import iso

MIB = 1 << 20
BLOCK = 4096
SYSTEM_TYPE = disk.uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
CALLING = hashlib.sha256(b"Calling EFI Application from Boot Option").digest()
RETURNING = hashlib.sha256(b"Returning from EFI Application from Boot Option").digest()
README = """Bulkhead's installer. Start a PC (UEFI) from this medium and it says what follows.
For a USB stick copy the whole image onto it, byte by byte (cp, dd, or a
writing program's "DD" mode); single files taken out of it start nothing.
"""
SEPARATOR = hashlib.sha256(bytes(4)).digest()


def authenticode(image):
    """SHA-256 of a PE file as firmware measures it: without checksum, certificate entry and certificates.

    Windows Authenticode Portable Executable Signature Format, "Calculating the PE Image Hash".
    """
    header = struct.unpack_from("<I", image, 0x3c)[0]
    count, optional_bytes = struct.unpack_from("<H12xH", image, header + 6)
    optional = header + 24
    checksum, directory = optional + 64, optional + 112 + 4 * 8
    headers_bytes = struct.unpack_from("<I", image, optional + 60)[0]
    directories = struct.unpack_from("<I", image, optional + 108)[0]
    total = hashlib.sha256(image[:checksum])
    certificate_bytes = 0
    if directories > 4:
        certificate_bytes = struct.unpack_from("<I", image, directory + 4)[0]
        total.update(image[checksum + 4:directory])
        total.update(image[directory + 8:headers_bytes])
    else:
        total.update(image[checksum + 4:headers_bytes])
    sections = sorted((raw, size) for size, raw in
                      (struct.unpack_from("<II", image, optional + optional_bytes + 40 * i + 16) for i in range(count)))
    hashed = headers_bytes
    for raw, size in sections:
        total.update(image[raw:raw + size])
        hashed += size
    total.update(image[hashed:len(image) - certificate_bytes])
    return total.digest()


def pcr4(events):
    """PCR 4 of the SHA-256 bank after these digests."""
    value = bytes(32)
    for event in events:
        value = hashlib.sha256(value + event).digest()
    return value.hex()


def platform_key(path):
    """Makes the platform's key unless it is there; returns (private file, public key as PEM bytes)."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        old = os.umask(0o077)
        subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519", "-out", path], check=True)
        os.umask(old)
    return path, subprocess.run(["openssl", "pkey", "-in", path, "-pubout"], check=True, capture_output=True).stdout


def with_verity(path, squashfs, release):
    """Writes the system as it lies in a slot. Returns (bytes, the words of its tree for the kernel's command line)."""
    shutil.copyfile(squashfs, path)
    blocks = -(-os.path.getsize(path) // BLOCK)
    os.truncate(path, blocks * BLOCK)
    salt = hashlib.sha256(f"bulkhead release {release}".encode()).hexdigest()
    said = subprocess.run(["veritysetup", "format", "--no-superblock", f"--data-blocks={blocks}", f"--hash-offset={blocks * BLOCK}",
                           f"--salt={salt}", path, path], check=True, capture_output=True, text=True).stdout
    root = next(line.split()[-1] for line in said.splitlines() if line.startswith("Root hash:"))
    size = -(-os.path.getsize(path) // BLOCK) * BLOCK
    os.truncate(path, size)
    return size, f"bulkhead.verity={blocks}:{salt}:{root} bulkhead.release={release}"


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else \
            hashlib.sha256(file.read()).hexdigest()


def write_manifest(path, release, boot, kernel, system):
    """Writes the release's manifest. `boot`, `kernel`, `system`: files."""
    images = []
    for name in (boot, kernel):
        with open(name, "rb") as file:
            images.append(authenticode(file.read()))
    first = [CALLING, SEPARATOR, *images]
    second = [CALLING, SEPARATOR, RETURNING, CALLING, *images]
    lines = {"release": release, "pcr4": pcr4(first), "pcr4_second": pcr4(second), "boot_sha256": _sha256(boot),
             "system_sha256": _sha256(system), "system_bytes": os.path.getsize(system)}
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"{key}={value}\n" for key, value in lines.items())
    return path


def write_update(path, manifest, boot, system, key):
    """Writes the file that `bulkhead-slot update` takes: a tar archive whose first two members decide about the rest."""
    signature = subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", manifest],
                               check=True, capture_output=True).stdout
    with tarfile.open(f"{path}.new", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, source in (("release", manifest), ("release.sig", None), ("boot.efi", boot), ("system.img", system)):
            entry = tarfile.TarInfo(name)
            entry.size = os.path.getsize(source) if source else len(signature)
            with (open(source, "rb") if source else io.BytesIO(signature)) as file:
                tar.addfile(entry, file)
    os.replace(f"{path}.new", path)
    return path


def write_medium(path, start, manifest, boot, system, answers, scratch):
    """Writes the installer's medium: an ESP with a removable-media path, and the system it runs and installs. It starts
    a PC from a USB stick and from a CD-ROM drive, real or played by a management controller or a hypervisor."""
    answers_file = os.path.join(scratch, "answers")
    with open(answers_file, "w", encoding="utf-8") as file:
        file.write("# bulkhead-install(8) lists what may stand here\n" + "".join(f"{line}\n" for line in answers))
    files = {"EFI/BOOT/BOOTX64.EFI": start, "bulkhead/boot.efi": boot, "bulkhead/release": manifest,
             "bulkhead/answers": answers_file}
    esp = (sum(os.path.getsize(name) for name in files.values()) // MIB + 36) * MIB // disk.SECTOR
    root = -(-os.path.getsize(system) // MIB) * MIB // disk.SECTOR
    first = disk.ALIGN
    with open(f"{path}.new", "wb") as file:
        file.truncate((esp + root + 2 * disk.ALIGN) * disk.SECTOR)
    disk.write_table(f"{path}.new", [(disk.ESP_TYPE, "bulkhead-setup", first, first + esp - 1),
                                     (SYSTEM_TYPE, "bulkhead-medium", first + esp, first + esp + root - 1)])
    disk.fill_esp(f"{path}.new", first * disk.SECTOR, esp, files)
    with open(system, "rb") as source, open(f"{path}.new", "r+b") as file:
        file.seek((first + esp) * disk.SECTOR)
        shutil.copyfileobj(source, file, MIB)
    iso.make_hybrid(f"{path}.new", "BULKHEAD", first, README)
    os.replace(f"{path}.new", path)
    return path

"""Makes disk images with an EFI system partition, without root: a GUID partition table written here, FAT by mtools."""
import binascii
import os
import struct
import subprocess
import uuid

SECTOR = 512
EPOCH = 1767225600  # 2026-01-01: every file's time, so that builds are equal
ALIGN = 2048  # sectors: partitions start at 1 MiB
ESP_TYPE = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
NAMESPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def esp_disk(path, files):
    """Writes a disk whose one partition is an ESP that holds `files` (ESP path -> file). Returns `path`."""
    payload = sum(os.path.getsize(source) for source in files.values())
    size_mib = max(34, (payload >> 20) + 8)
    sectors = size_mib * 2048
    with open(path, "wb") as file:
        file.truncate((sectors + 2 * ALIGN) * SECTOR)
    partitions = [(ESP_TYPE, "ESP", ALIGN, ALIGN + sectors - 1)]
    write_table(path, partitions)
    fill_esp(path, ALIGN * SECTOR, sectors, files)
    return path


def fill_esp(path, offset, sectors, files):
    """Formats FAT32 at byte `offset` of `path` and copies `files` in, making their folders."""
    target = f"{path}@@{offset}"
    environment = dict(os.environ, MTOOLS_SKIP_CHECK="1", SOURCE_DATE_EPOCH=str(EPOCH), TZ="UTC")

    def tool(*words, **options):
        subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL, **options)

    # The serial number is given, and every file gets the same time, so that two builds are equal.
    tool("mformat", "-i", target, "-F", "-v", "BULKHEAD", "-N", "42484553", "-T", str(sectors), "-h", "255",
         "-s", "63", "::")
    made = set()
    for name, source in sorted(files.items()):
        folder = ""
        for part in name.split("/")[:-1]:
            folder += f"/{part}"
            if folder not in made:
                made.add(folder)
                tool("mmd", "-i", target, f"::{folder}")
        tool("mcopy", "-i", target, source, f"::/{name}")


def write_table(path, partitions):
    """Writes a protective MBR and both GUID tables. `partitions`: (type UUID, name, first sector, last sector)."""
    total = os.path.getsize(path) // SECTOR
    entries = b""
    for number, (kind, name, first, last) in enumerate(partitions):
        unique = uuid.uuid5(NAMESPACE, f"bulkhead-partition-{number}-{name}")
        entries += struct.pack("<16s16sQQQ72s", kind.bytes_le, unique.bytes_le, first, last, 0,
                               name.encode("utf-16-le"))
    entries += bytes(128 * 128 - len(entries))

    def header(own, other, table):
        fields = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, total - 34,
                             uuid.uuid5(NAMESPACE, "bulkhead-disk").bytes_le, table, 128, 128,
                             binascii.crc32(entries))
        return fields[:16] + struct.pack("<I", binascii.crc32(fields)) + fields[20:]

    protective = bytes(446) + struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xee, b"\xff\xff\xff", 1,
                                          min(total - 1, 0xffffffff)) + bytes(48) + b"\x55\xaa"
    with open(path, "r+b") as file:
        file.write(protective)
        file.write(header(1, total - 1, 2).ljust(SECTOR, b"\0"))
        file.write(entries)
        file.seek((total - 33) * SECTOR)
        file.write(entries)
        file.write(header(total - 1, 1, total - 33).ljust(SECTOR, b"\0"))

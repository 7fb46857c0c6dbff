"""Makes a disk image also a CD-ROM: ISO 9660 with El Torito for UEFI, written into what the image leaves free.

The first 32 KiB of a CD-ROM are whoever's wants them (ECMA-119, 7.2.1), so protective MBR and GUID table lie there already;
the descriptors go behind them, before the first partition at 1 MiB. El Torito's one entry is the EFI system partition as it
lies in the table: nothing is stored twice, and the same bytes start a PC from a stick and from a drive. (xorriso would
name and place the partitions itself; the system finds its own by name.)
"""
import os
import struct

import disk

BLOCK = 2048
PRIMARY, BOOT_RECORD, END, CATALOGUE, TABLE_LITTLE, TABLE_BIG, ROOT, README = range(16, 24)  # blocks, one for each
EPOCH = b"2026010100000000\0"
EPOCH_SHORT = bytes([126, 1, 1, 0, 0, 0, 0])  # years since 1900, month, day, ...: ECMA-119, 9.1.5


def _both16(value):
    return struct.pack("<H", value) + struct.pack(">H", value)


def _both32(value):
    return struct.pack("<I", value) + struct.pack(">I", value)


def _record(name, block, size, folder=False):
    """A directory record: ECMA-119, 9.1."""
    fields = bytes([0]) + _both32(block) + _both32(size) + EPOCH_SHORT + bytes([2 if folder else 0, 0, 0]) + _both16(1) + \
        bytes([len(name)]) + name
    fields += bytes((len(fields) + 1) % 2)
    return bytes([len(fields) + 1]) + fields


def _path_table(order):
    """The one folder there is: ECMA-119, 9.4."""
    return struct.pack(f"{order}BBIH", 1, 0, ROOT, 1) + bytes(2)


def _primary(label, blocks):
    """The primary volume descriptor: ECMA-119, 8.4."""
    table_bytes = len(_path_table("<"))
    fields = b"\1CD001\1\0" + b" " * 32 + label.ljust(32).encode() + bytes(8) + _both32(blocks) + bytes(32) + \
        _both16(1) + _both16(1) + _both16(BLOCK) + _both32(table_bytes) + \
        struct.pack("<II", TABLE_LITTLE, 0) + struct.pack(">II", TABLE_BIG, 0) + _record(b"\0", ROOT, BLOCK, True) + \
        b" " * (4 * 128) + b" " * (3 * 37) + EPOCH * 2 + b"0" * 16 + b"\0" + b"0" * 16 + b"\0" + b"\1"
    return fields.ljust(BLOCK, b"\0")


def _boot_record():
    """Where El Torito's catalogue lies: El Torito 1.0, figure 7."""
    return (b"\0CD001\1" + b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", CATALOGUE)).ljust(BLOCK, b"\0")


def _catalogue(block):
    """A validation entry for UEFI and one bootable entry without emulation. Its size is 0, "to the end of the disc" (UEFI
    2.10, 13.3.2.1): the field counts at most 32 MiB, and the file system knows its own size."""
    entry = bytearray(struct.pack("<BBH24sHBB", 1, 0xef, 0, b"BULKHEAD", 0, 0x55, 0xaa))
    struct.pack_into("<H", entry, 28, -sum(struct.unpack("<16H", entry)) & 0xffff)
    return (bytes(entry) + struct.pack("<BBHBBHI20x", 0x88, 0, 0, 0, 0, 0, block)).ljust(BLOCK, b"\0")


def make_hybrid(path, label, first_sector, text):
    """Writes the descriptors into the disk image `path`, whose EFI system partition starts at `first_sector` (of 512 bytes).
    `text`: what somebody reads who opens the disc, README.TXT."""
    size, readme = os.path.getsize(path), text.encode("ascii")
    if size % BLOCK or first_sector * disk.SECTOR % BLOCK or len(readme) > BLOCK:
        raise ValueError("a CD-ROM has blocks of 2048 bytes")
    root = _record(b"\0", ROOT, BLOCK, True) + _record(b"\1", ROOT, BLOCK, True) + \
        _record(b"README.TXT;1", README, len(readme))
    parts = {PRIMARY: _primary(label, size // BLOCK), BOOT_RECORD: _boot_record(), END: b"\xffCD001\1",
             CATALOGUE: _catalogue(first_sector * disk.SECTOR // BLOCK), TABLE_LITTLE: _path_table("<"),
             TABLE_BIG: _path_table(">"), ROOT: root, README: readme}
    with open(path, "r+b") as file:
        for block, data in parts.items():
            file.seek(block * BLOCK)
            file.write(data.ljust(BLOCK, b"\0"))

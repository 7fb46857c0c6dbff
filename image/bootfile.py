"""The one file that firmware starts: a PE program with kernel, initrd, command line and configuration as sections.

Firmware verifies or measures the file as a whole, so everything that decides what runs is inside it. Two programs take
sections: bulkhead.efi, and systemd's stub for controls that start Linux bare (a unified kernel image).
"""
import struct

STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
OSREL = b"ID=bulkhead\nNAME=Bulkhead\nPRETTY_NAME=\"Bulkhead service domain\"\n"
READ_INITIALISED = 0x40000040  # section characteristics (PE/COFF 8.3, section 4.1)
SECTION_BYTES = 40


def add_sections(program, sections):
    """Returns the PE file `program` (bytes) with `sections`, [(name, bytes)], added behind its own ones.

    Raises ValueError if the file is no 64-bit PE program or its headers have no room.
    """
    image = bytearray(program)
    header = struct.unpack_from("<I", image, 0x3c)[0]
    if image[:2] != b"MZ" or image[header:header + 4] != b"PE\0\0":
        raise ValueError("not a PE file")
    count, optional_bytes = struct.unpack_from("<H12xH", image, header + 6)
    optional = header + 24
    if struct.unpack_from("<H", image, optional)[0] != 0x20b:
        raise ValueError("not a 64-bit PE file")
    section_alignment, file_alignment = struct.unpack_from("<II", image, optional + 32)
    headers_bytes = struct.unpack_from("<I", image, optional + 60)[0]
    table = optional + optional_bytes
    own = [struct.unpack_from("<8sIIII", image, table + SECTION_BYTES * i) for i in range(count)]
    if table + SECTION_BYTES * (count + len(sections)) > min([headers_bytes] + [raw for *_, raw in own if raw]):
        raise ValueError(f"no room in the headers for {len(sections)} more sections")

    def up(value, alignment):
        return -(-value // alignment) * alignment

    address = up(max(virtual + size for _, size, virtual, _, _ in own), section_alignment)
    added = 0
    for number, (name, data) in enumerate(sections):
        image += bytes(up(len(image), file_alignment) - len(image))
        raw_bytes = up(len(data), file_alignment)
        struct.pack_into("<8sIIIIIIHHI", image, table + SECTION_BYTES * (count + number), name.encode(), len(data),
                         address, raw_bytes, len(image), 0, 0, 0, 0, READ_INITIALISED)
        image += data + bytes(raw_bytes - len(data))
        address = up(address + len(data), section_alignment)
        added += raw_bytes
    struct.pack_into("<H", image, header + 6, count + len(sections))
    initialised = struct.unpack_from("<I", image, optional + 8)[0]
    struct.pack_into("<I", image, optional + 8, initialised + added)
    struct.pack_into("<I", image, optional + 56, address)
    struct.pack_into("<I", image, optional + 64, 0)  # checksum: firmware ignores it, and signing sets it
    return bytes(image)


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    return path


def unified_kernel(output, kernel, initrd, command_line, stub=STUB):
    """Writes a file that starts Linux without Bulkhead. `kernel`, `initrd`: files; `command_line`: text."""
    return _write(output, add_sections(_read(stub), [
        (".osrel", OSREL), (".cmdline", command_line.encode()), (".linux", _read(kernel)), (".initrd", _read(initrd))]))


def bulkhead(output, program, kernel, initrd, command_line, settings):
    """Writes a file that starts Bulkhead, which starts Linux. `program`: bulkhead.efi; `settings`: {key: value}."""
    configuration = "".join(f"{key}={value}\n" for key, value in settings.items())
    return _write(output, add_sections(_read(program), [
        (".bhconf", configuration.encode()), (".cmdline", command_line.encode()), (".linux", _read(kernel)),
        (".initrd", _read(initrd))]))


def bulkhead_with_unified(output, program, unified, settings):
    """The same around a unified kernel image (a file), which brings its initrd and command line with it."""
    configuration = "".join(f"{key}={value}\n" for key, value in settings.items())
    return _write(output, add_sections(_read(program), [(".bhconf", configuration.encode()), (".uki", _read(unified))]))

# Shared by bulkhead-install and bulkhead-slot: the layout of an installed disk, and firmware's boot entries.
# Partitions by name: bulkhead-esp, bulkhead-a and bulkhead-b (systems), bulkhead-data (encrypted). On the ESP lie
# EFI/bulkhead/a.efi and b.efi, each with the root hash of its system inside, and EFI/BOOT/BOOTX64.EFI, a copy of the
# confirmed one for firmware that has lost its variables.
ESP=/run/bulkhead-esp
MANIFEST_KEYS="release pcr4 pcr4_second boot_sha256 system_sha256 system_bytes"

fail() {
	echo "$program: $*" >&2
	exit 1
}

say() {
	echo "$*"
}

release() { # of the system that runs: a word of its boot file's command line
	sed -n 's/.*bulkhead\.release=\([0-9]*\).*/\1/p' /proc/cmdline
}

device_of() { # the device of the partition with this name, or nothing
	for uevent in /sys/class/block/*/uevent; do
		! grep -qx "PARTNAME=$1" "$uevent" || sed -n 's,^DEVNAME=,/dev/,p' "$uevent"
	done | head -1
}

name_of() { # the name of the partition /dev/X
	sed -n 's/^PARTNAME=//p' "/sys/class/block/${1##*/}/uevent"
}

manifest() { # FILE KEY: the value, checked to be what it may be
	value=$(sed -n "s/^$2=//p" "$1")
	case $2:$value in
	*:) fail "$1 does not say $2" ;;
	release:*[!0-9]* | system_bytes:*[!0-9]*) fail "$1: $2 is no number" ;;
	pcr4*:*[!0-9a-f]* | *sha256:*[!0-9a-f]*) fail "$1: $2 is no hash" ;;
	esac
	printf %s "$value"
}

# Puts a file onto the ESP: whole under a new name first, then renamed.
esp_put() { # SOURCE PATH
	mkdir -p "$ESP/${2%/*}"
	cp "$1" "$ESP/$2.new"
	sync -f "$ESP/$2.new"
	cmp -s "$1" "$ESP/$2.new" || fail "the EFI system partition did not keep $2"
	mv -f "$ESP/$2.new" "$ESP/$2"
	sync -f "$ESP"
}

entry_of() { # the number of firmware's entry for slot a or b
	efibootmgr 2>/dev/null | sed -n "s/^Boot\([0-9A-F]\{4\}\)[* ] Bulkhead $1\(\t.*\)\{0,1\}\$/\1/p" | head -1
}

make_entry() { # SLOT ESP-DEVICE: an entry that is in no order yet
	[ -z "$(entry_of "$1")" ] || return 0
	disk=/dev/$(lsblk -nro PKNAME "$2")
	number=$(cat "/sys/class/block/${2##*/}/partition")
	efibootmgr -q -C -d "$disk" -p "$number" -L "Bulkhead $1" -l "\\EFI\\bulkhead\\$1.efi" ||
		fail "firmware takes no boot entry; is its variable store full?"
}

boot_order() { # entries separated by commas, first first
	efibootmgr 2>/dev/null | sed -n 's/^BootOrder: //p'
}

# Puts entries before all others.
order_first() { # ENTRY...
	order=
	for entry in "$@" $(boot_order | tr , ' '); do
		case ",$order," in *",$entry,"*) ;; *) order=${order:+$order,}$entry ;; esac
	done
	efibootmgr -q -o "$order" || fail "firmware does not keep the boot order"
}

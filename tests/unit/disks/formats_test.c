/*
 * The judges of image formats and archives against bytes made here: what a header may say, and that any damage to one
 * is judged without reading outside it (the sanitizers of the suite watch).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "ova.h"

#define IMAGE_BYTES (512u << 10)

static void put32(uint8_t *to, uint32_t value)
{
	value = htobe32(value);
	memcpy(to, &value, sizeof(value));
}

static void put64(uint8_t *to, uint64_t value)
{
	value = htobe64(value);
	memcpy(to, &value, sizeof(value));
}

/** A version 3 qcow2 of 1 MiB with its tables in place. */
static void make_qcow2(uint8_t *image)
{
	memset(image, 0, IMAGE_BYTES);
	memcpy(image, "QFI\xfb", 4);
	put32(image + 4, 3);
	put32(image + 20, 16);
	put64(image + 24, 1 << 20);
	put32(image + 36, 1);
	put64(image + 40, 3 << 16);
	put64(image + 48, 1 << 16);
	put32(image + 56, 1);
	put32(image + 96, 4);
	put32(image + 100, 104);
}

static void make_vmdk(uint8_t *image)
{
	static const char text[] = "# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\n"
				   "createType=\"monolithicSparse\"\nRW 2048 SPARSE \"a.vmdk\"\n";

	memset(image, 0, IMAGE_BYTES);
	memcpy(image, "KDMV\1\0\0\0\3\0\0\0", 12);
	image[13] = 8;	  /* 2048 sectors */
	image[20] = 128;  /* grain */
	image[28] = 1;	  /* description */
	image[36] = 20;	  /* its length */
	image[45] = 2;	  /* 512 entries a table */
	image[56] = 21;	  /* directory */
	memcpy(image + 512, text, sizeof(text));
}

static void make_vhd(uint8_t *image)
{
	uint8_t *footer = image + IMAGE_BYTES - 512;
	uint32_t sum = 0;

	memset(image, 0, IMAGE_BYTES);
	memcpy(footer, "conectix", 8);
	put64(footer + 48, IMAGE_BYTES - 512);
	put32(footer + 60, 2);
	for (int i = 0; i < 512; i++)
		sum += footer[i];
	put32(footer + 64, ~sum);
}

static int judge(const uint8_t *image, size_t size_bytes, enum disk_format format, struct disk_facts *facts)
{
	struct disk_source source = {.memory = image, .size_bytes = size_bytes};
	struct disk_why why = {""};
	int error = disk_format_check(&source, format, 1 << 30, facts, &why);

	assert_true(error == 0 || why.text[0] != '\0');
	return error;
}

static void good_headers_are_taken(void **state)
{
	uint8_t *image = malloc(IMAGE_BYTES);
	struct disk_facts facts;

	make_qcow2(image);
	assert_int_equal(judge(image, IMAGE_BYTES, DISK_QCOW2, &facts), 0);
	assert_int_equal(facts.disk_bytes, 1 << 20);
	make_vmdk(image);
	assert_int_equal(judge(image, IMAGE_BYTES, DISK_VMDK, &facts), 0);
	assert_int_equal(facts.disk_bytes, 1 << 20);
	make_vhd(image);
	assert_int_equal(judge(image, IMAGE_BYTES, DISK_VHD, &facts), 0);
	assert_int_equal(facts.disk_bytes, IMAGE_BYTES - 512);
	free(image);
}

/** Every length that cuts a header short, and every single byte of it changed to a few values: judged, never read past. */
static void damaged_headers_are_judged_within_bounds(void **state)
{
	static void (*const make[])(uint8_t *image) = {make_qcow2, make_vmdk, make_vhd};
	static const enum disk_format formats[] = {DISK_QCOW2, DISK_VMDK, DISK_VHD};
	static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
	struct disk_facts facts;
	uint8_t *image = malloc(IMAGE_BYTES);

	for (int kind = 0; kind < 3; kind++) {
		make[kind](image);
		for (size_t length = 0; length < 2048; length++) {
			uint8_t *exact = malloc(length ? length : 1);

			memcpy(exact, image, length);
			judge(exact, length, formats[kind], &facts);
			free(exact);
		}
		size_t start = formats[kind] == DISK_VHD ? IMAGE_BYTES - 512 : 0;

		for (size_t at = 0; at < 1024 && start + at < IMAGE_BYTES; at++) {
			uint8_t kept = image[start + at];

			for (size_t i = 0; i < sizeof(values); i++) {
				image[start + at] = values[i];
				if (judge(image, IMAGE_BYTES, formats[kind], &facts) == 0)
					assert_true(facts.disk_bytes <= 1 << 30 && facts.disk_bytes % 512 == 0);
			}
			image[start + at] = kept;
		}
	}
	free(image);
}

static void qcow2_that_leads_elsewhere_is_refused(void **state)
{
	uint8_t *image = malloc(IMAGE_BYTES);
	struct disk_facts facts;

	make_qcow2(image);
	put64(image + 8, 200);
	assert_int_equal(judge(image, IMAGE_BYTES, DISK_QCOW2, &facts), -ENOTSUP);
	make_qcow2(image);
	put32(image + 16, 8);
	assert_int_equal(judge(image, IMAGE_BYTES, DISK_QCOW2, &facts), -ENOTSUP);
	make_qcow2(image);
	put64(image + 72, 1 << 2);
	assert_int_equal(judge(image, IMAGE_BYTES, DISK_QCOW2, &facts), -ENOTSUP);
	make_qcow2(image);
	put32(image + 104, 0x44415441);
	assert_int_equal(judge(image, IMAGE_BYTES, DISK_QCOW2, &facts), -ENOTSUP);
	make_qcow2(image);
	put32(image + 32, 1);
	assert_int_equal(judge(image, IMAGE_BYTES, DISK_QCOW2, &facts), -ENOTSUP);
	free(image);
}

static void a_disk_above_the_limit_is_refused(void **state)
{
	uint8_t *image = malloc(IMAGE_BYTES);
	struct disk_facts facts;

	make_qcow2(image);
	put64(image + 24, (1ull << 30) + 512);
	put32(image + 36, 4);
	assert_int_equal(judge(image, IMAGE_BYTES, DISK_QCOW2, &facts), -EFBIG);
	put64(image + 24, UINT64_MAX);
	assert_int_equal(judge(image, IMAGE_BYTES, DISK_QCOW2, &facts), -EFBIG);
	free(image);
}

static void names_that_lead_elsewhere_are_not_plain(void **state)
{
	static const char *const bad[] = {"", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a\nb", "a\x7f", "\xff"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(ova_name_is_plain(bad[i]));
	assert_true(ova_name_is_plain("disk one.vmdk"));
}

static void a_description_gives_the_machine(void **state)
{
	static const char xml[] =
		"<Envelope xmlns:o='x'><References><File o:id='f' o:href='d.vmdk'/></References>"
		"<DiskSection><Disk o:fileRef='f' o:capacity='4' o:capacityAllocationUnits='byte * 2^30'/></DiskSection>"
		"<Item><ResourceType>3</ResourceType><VirtualQuantity>4</VirtualQuantity></Item></Envelope>";
	struct ovf_machine machine;
	struct disk_why why;

	assert_int_equal(ovf_parse(xml, sizeof(xml) - 1, &machine, &why), 0);
	assert_int_equal(machine.processors, 4);
	assert_int_equal(machine.disk_count, 1);
	assert_string_equal(machine.disks[0].file, "d.vmdk");
	assert_int_equal(machine.disks[0].capacity_bytes, 4ull << 30);
}

static void a_capacity_that_overflows_is_refused(void **state)
{
	static const char xml[] = "<E><File id='f' href='d'/><Disk fileRef='f' capacity='18446744073709551615' "
				  "capacityAllocationUnits='byte * 2^40'/></E>";
	struct ovf_machine machine;
	struct disk_why why;

	assert_int_equal(ovf_parse(xml, sizeof(xml) - 1, &machine, &why), -EINVAL);
}

static void reasons_are_one_printable_line(void **state)
{
	struct disk_why why;

	assert_int_equal(disk_refuse(&why, EINVAL, "a\nb\x1b[2Jc"), -EINVAL);
	assert_string_equal(why.text, "a?b?[2Jc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_headers_are_taken),
		cmocka_unit_test(damaged_headers_are_judged_within_bounds),
		cmocka_unit_test(qcow2_that_leads_elsewhere_is_refused),
		cmocka_unit_test(a_disk_above_the_limit_is_refused),
		cmocka_unit_test(names_that_lead_elsewhere_are_not_plain),
		cmocka_unit_test(a_description_gives_the_machine),
		cmocka_unit_test(a_capacity_that_overflows_is_refused),
		cmocka_unit_test(reasons_are_one_printable_line),
	};

	return cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}

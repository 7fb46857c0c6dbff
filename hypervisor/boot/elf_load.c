/* SPDX-License-Identifier: MIT */
/*
 * See elf_load.h. System V ABI, AMD64 supplement: the only relocation of a static position-independent
 * image is R_X86_64_RELATIVE.
 */
#include "elf_load.h"

#define PT_LOAD		  1u
#define PT_DYNAMIC	  2u
#define DT_NULL		  0u
#define DT_RELA		  7u
#define DT_RELASZ	  8u
#define R_X86_64_RELATIVE 8u
#define IMAGE_MAX_BYTES	  (16ull << 20)

struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, program_offset, section_offset;
	uint32_t flags;
	uint16_t header_bytes, program_bytes, program_count;
	uint16_t section_bytes, section_count, names;
};

struct elf_program {
	uint32_t type, flags;
	uint64_t offset, virtual, physical, file_bytes, memory_bytes, align;
};

struct elf_dynamic {
	uint64_t tag, value;
};

struct elf_rela {
	uint64_t offset, info;
	int64_t addend;
};

static const struct elf_program *program_at(const uint8_t *file, unsigned int index)
{
	const struct elf_header *header = (const void *)file;

	return (const void *)(file + header->program_offset + index * sizeof(struct elf_program));
}

bool elf_measure(const uint8_t *file, size_t size_bytes, struct elf_layout *layout)
{
	const struct elf_header *header = (const void *)file;
	uint64_t end = 0;

	if (size_bytes < sizeof(*header) || header->ident[0] != 0x7f || header->ident[1] != 'E' ||
	    header->ident[2] != 'L' || header->ident[3] != 'F' || header->ident[4] != 2 ||
	    header->type != 3 || header->machine != 62 ||
	    header->program_bytes != sizeof(struct elf_program) || header->program_offset % 8 ||
	    header->program_offset > size_bytes ||
	    header->program_count > (size_bytes - header->program_offset) / sizeof(struct elf_program))
		return false;
	for (unsigned int i = 0; i < header->program_count; i++) {
		const struct elf_program *program = program_at(file, i);

		if (program->type != PT_LOAD)
			continue;
		if (program->offset > size_bytes || program->file_bytes > size_bytes - program->offset ||
		    program->memory_bytes < program->file_bytes ||
		    program->virtual > IMAGE_MAX_BYTES || program->memory_bytes > IMAGE_MAX_BYTES)
			return false;
		if (program->virtual + program->memory_bytes > end)
			end = program->virtual + program->memory_bytes;
	}
	layout->image_bytes = (end + 0xfff) & ~0xfffull;
	layout->entry = header->entry;
	return header->entry < end;
}

static bool relocate(uint8_t *memory, uint64_t image_bytes, uint64_t table, uint64_t table_bytes)
{
	const struct elf_rela *rela;

	if (table % 8 || table > image_bytes || table_bytes > image_bytes - table)
		return false;
	rela = (const void *)(memory + table);
	for (uint64_t i = 0; i < table_bytes / sizeof(*rela); i++) {
		if (rela[i].info != R_X86_64_RELATIVE || rela[i].offset % 8 ||
		    rela[i].offset > image_bytes - 8)
			return false;
		*(uint64_t *)(memory + rela[i].offset) =
			(uint64_t)(uintptr_t)memory + (uint64_t)rela[i].addend;
	}
	return true;
}

bool elf_place(const uint8_t *file, size_t size_bytes, uint8_t *memory,
	       const struct elf_layout *layout)
{
	const struct elf_header *header = (const void *)file;
	uint64_t table = 0, table_bytes = 0;

	(void)size_bytes;
	for (uint64_t i = 0; i < layout->image_bytes; i++)
		memory[i] = 0;
	for (unsigned int i = 0; i < header->program_count; i++) {
		const struct elf_program *program = program_at(file, i);

		if (program->type == PT_LOAD)
			for (uint64_t j = 0; j < program->file_bytes; j++)
				memory[program->virtual + j] = file[program->offset + j];
	}
	for (unsigned int i = 0; i < header->program_count; i++) {
		const struct elf_program *program = program_at(file, i);
		const struct elf_dynamic *dynamic;

		if (program->type != PT_DYNAMIC)
			continue;
		if (program->virtual % 8 || program->virtual > layout->image_bytes ||
		    program->memory_bytes > layout->image_bytes - program->virtual)
			return false;
		dynamic = (const void *)(memory + program->virtual);
		for (uint64_t j = 0; j < program->memory_bytes / sizeof(*dynamic); j++) {
			if (dynamic[j].tag == DT_NULL)
				break;
			if (dynamic[j].tag == DT_RELA)
				table = dynamic[j].value;
			if (dynamic[j].tag == DT_RELASZ)
				table_bytes = dynamic[j].value;
		}
	}
	return relocate(memory, layout->image_bytes, table, table_bytes);
}

/* SPDX-License-Identifier: MIT */
/*
 * The processor's instructions that C lacks, and the numbers of its registers (APM volume 2).
 */
#ifndef BULKHEAD_X86_CPU_H
#define BULKHEAD_X86_CPU_H

#include <stdbool.h>
#include <stdint.h>

#define CR0_PE	       (1ull << 0)
#define CR0_TS	       (1ull << 3)
#define CR0_ET	       (1ull << 4)
#define CR0_WP	       (1ull << 16)
#define CR0_NW	       (1ull << 29)
#define CR0_CD	       (1ull << 30)
#define CR0_PG	       (1ull << 31)
#define CR4_PAE	       (1ull << 5)
#define CR4_MCE	       (1ull << 6)
#define CR4_LA57       (1ull << 12)
#define CR4_OSXSAVE    (1ull << 18)
#define CR4_SMEP       (1ull << 20)
#define CR4_SMAP       (1ull << 21)
#define CR4_PKE	       (1ull << 22)

#define EFER_LME       (1ull << 8)
#define EFER_LMA       (1ull << 10)
#define EFER_NXE       (1ull << 11)
#define EFER_SVME      (1ull << 12)

#define RFLAGS_FIXED   (1ull << 1)
#define RFLAGS_IF      (1ull << 9)

#define MSR_TSC	       0x10u
#define MSR_APIC_BASE  0x1bu
#define MSR_MTRR_CAP   0xfeu
#define MSR_MTRR_BASE0 0x200u
#define MSR_MTRR_DEF   0x2ffu
#define MSR_PAT	       0x277u
#define MSR_EFER       0xc0000080u
#define MSR_FS_BASE    0xc0000100u
#define MSR_GS_BASE    0xc0000101u
#define MSR_KERNEL_GS  0xc0000102u
#define MSR_HWCR       0xc0010015u
#define MSR_VM_CR      0xc0010114u
#define MSR_VM_HSAVE   0xc0010117u

#define APIC_BASE_X2APIC  (1ull << 10)
#define APIC_BASE_BSP	  (1ull << 8)

enum vector {
	VECTOR_DB = 1,
	VECTOR_NMI = 2,
	VECTOR_UD = 6,
	VECTOR_DF = 8,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_AC = 17,
	VECTOR_MC = 18,
};

struct descriptor_table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return low | (uint64_t)high << 32;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return low | (uint64_t)high << 32;
}

#define CONTROL_REGISTER(name)                                             \
	static inline uint64_t read_##name(void)                           \
	{                                                                  \
		uint64_t value;                                            \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(value));     \
		return value;                                              \
	}                                                                  \
	static inline void write_##name(uint64_t value)                    \
	{                                                                  \
		__asm__ volatile("mov %0, %%" #name : : "r"(value) : "memory"); \
	}
CONTROL_REGISTER(cr0)
CONTROL_REGISTER(cr2)
CONTROL_REGISTER(cr3)
CONTROL_REGISTER(cr4)
CONTROL_REGISTER(dr6)
CONTROL_REGISTER(dr7)
#undef CONTROL_REGISTER

#define SEGMENT_REGISTER(name)                                              \
	static inline uint16_t read_##name(void)                            \
	{                                                                   \
		uint16_t value;                                             \
		__asm__ volatile("mov %%" #name ", %0" : "=rm"(value));     \
		return value;                                               \
	}
SEGMENT_REGISTER(cs)
SEGMENT_REGISTER(ds)
SEGMENT_REGISTER(es)
SEGMENT_REGISTER(ss)
#undef SEGMENT_REGISTER

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

/** An access of 1, 2 or 4 bytes. */
static inline uint32_t in_bytes(uint16_t port, unsigned int size_bytes)
{
	return size_bytes == 1 ? in8(port) : size_bytes == 2 ? in16(port) : in32(port);
}

static inline void out_bytes(uint16_t port, unsigned int size_bytes, uint32_t value)
{
	if (size_bytes == 1)
		out8(port, (uint8_t)value);
	else if (size_bytes == 2)
		out16(port, (uint16_t)value);
	else
		out32(port, value);
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" : : : "memory");
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What leaving a guest costs, seen from inside: the guest's counter is read before and after one operation. In an
 * emulated PC that counts instructions, a tick is one instruction of anybody: guest, hypervisor, Linux, monitor. So the
 * same program compares hypervisors, whatever they do on the way.
 *
 * For each operation it prints "EXIT ready" on the first serial port, waits for a character, so that others can read
 * counters of theirs before and after, and prints "EXIT name median minimum maximum". The cost of reading the counter is
 * taken off. In a guest of Xen it prints to the debug port, which Xen itself answers, and waits for nobody.
 */
#include "device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SAMPLES	   256
#define WARM_UP	   32
#define SERIAL	   0x3f8
#define SCRATCH	   (SERIAL + 7) /* a register that does nothing: answered by whoever plays the serial port */
#define DEBUG	   0xe9		/* Xen's: each byte is printed */
#define XEN	   0x566e6558	/* the first letters of its name */
#define PM_TIMER   0x608
#define PCI_ECAM   0xb0000000ul
#define APIC	   0xfee00000ul
#define MSR_EFER   0xc0000080u
#define VECTOR	   0x40
#define TIMER_WAIT 20000u
#define LOOK_EVERY 10000000u /* ticks: waiting is to cost others' counters next to nothing */

enum { APIC_ID = 0x20, APIC_EOI = 0xb0, APIC_SPURIOUS = 0xf0, APIC_COMMAND = 0x300, APIC_TIMER = 0x320,
       APIC_TIMER_START = 0x380, APIC_TIMER_DIVIDE = 0x3e0 };

struct gate {
	uint16_t low, selector;
	uint8_t stack, type;
	uint16_t middle;
	uint32_t high, zero;
};

extern char exception_entry[], exception_with_code_entry[], interrupt_entry[];
void unexpected(void);
int main(void);

volatile uint32_t expected;   /* length of the instruction that may raise an exception */
volatile uint32_t exceptions; /* how many it raised */
volatile uint32_t interrupts;

static struct gate gates[256] __attribute__((aligned(16)));
static uint64_t samples[SAMPLES];
static uint64_t overhead;
static bool on_xen;

static inline uint8_t in(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t in_32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void out(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint64_t counter(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return low | (uint64_t)high << 32;
}

static inline uint32_t cpuid(uint32_t leaf)
{
	uint32_t b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(leaf), "=b"(b), "+c"(c), "=d"(d));
	return b;
}

static inline uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return low | (uint64_t)high << 32;
}

static inline void write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

/* Of a number that nobody offers. */
static inline void hypercall(void)
{
	uint64_t number = UINT32_MAX, first = 0, second = 0;

	__asm__ volatile("vmmcall" : "+a"(number), "+D"(first), "+S"(second) : : "memory", "rcx", "rdx", "r8", "r9",
			 "r10", "r11");
}

static inline uint32_t apic_read(uint32_t offset)
{
	uint32_t value;

	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(APIC + offset));
	return value;
}

static inline void apic_write(uint32_t offset, uint32_t value)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(APIC + offset));
}

static inline uint32_t pci_read(void)
{
	uint32_t value;

	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(PCI_ECAM));
	return value;
}

/* A waiting interrupt ends HLT: STI lets it in only after the next instruction. */
static inline void halt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static void put(char character)
{
	while (!on_xen && !(in(SERIAL + 5) & 0x20))
		;
	out(on_xen ? DEBUG : SERIAL, (uint8_t)character);
}

static void put_text(const char *text)
{
	while (*text)
		put(*text++);
}

static void put_number(uint64_t value)
{
	char digits[20];
	unsigned int count = 0;

	do
		digits[count++] = (char)('0' + value % 10);
	while (value /= 10);
	while (count)
		put(digits[--count]);
}

static void await_character(void)
{
	uint64_t start = counter();

	if (on_xen)
		return;
	put_text("EXIT ready\n");
	do {
		while (counter() - start < LOOK_EVERY)
			;
		start = counter();
	} while (!(in(SERIAL + 5) & 1));
	(void)in(SERIAL);
}

void unexpected(void)
{
	put_text("EXIT failed: an exception nobody expected\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void sort_samples(void)
{
	for (int i = 1; i < SAMPLES; i++) {
		uint64_t value = samples[i];
		int at = i;

		for (; at > 0 && samples[at - 1] > value; at--)
			samples[at] = samples[at - 1];
		samples[at] = value;
	}
}

static void report(const char *name)
{
	sort_samples();
	put_text("EXIT ");
	put_text(name);
	put(' ');
	put_number(samples[SAMPLES / 2] - overhead);
	put(' ');
	put_number(samples[0] - overhead);
	put(' ');
	put_number(samples[SAMPLES - 1] - overhead);
	put('\n');
}

#define MEASURE(name, ...)                                              \
	do {                                                            \
		await_character();                                      \
		for (int round = -WARM_UP; round < SAMPLES; round++) {  \
			uint64_t start = counter();                     \
                                                                        \
			__VA_ARGS__;                                    \
			samples[round < 0 ? 0 : round] = counter() - start; \
		}                                                       \
		report(name);                                           \
	} while (0)

static void set_gate(unsigned int vector, const char *handler)
{
	uint64_t address = (uint64_t)handler;

	gates[vector] = (struct gate){ (uint16_t)address, 8, 0, 0x8e, (uint16_t)(address >> 16),
				       (uint32_t)(address >> 32), 0 };
}

static bool has_code(unsigned int vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}

static void set_gates(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) table = { sizeof(gates) - 1, (uint64_t)gates };

	for (unsigned int vector = 0; vector < 32; vector++)
		set_gate(vector, has_code(vector) ? exception_with_code_entry : exception_entry);
	for (unsigned int vector = 32; vector < 256; vector++)
		set_gate(vector, interrupt_entry);
	__asm__ volatile("lidt %0" : : "m"(table));
}

/* Operations that may be refused with an exception, of an instruction of @bytes; then the line says so instead. */
static void measure_hypercall(void)
{
	expected = 3;
	exceptions = 0;
	MEASURE("hypercall", hypercall());
	expected = 0;
	if (exceptions)
		put_text("EXIT note: a hypercall is an invalid instruction here\n");
}

static void measure_instructions(void)
{
	uint64_t efer = read_msr(MSR_EFER);

	MEASURE("nothing", );
	overhead = samples[SAMPLES / 2];
	MEASURE("cpuid", (void)cpuid(0));
	measure_hypercall();
	MEASURE("msr_read", (void)read_msr(MSR_EFER));
	MEASURE("msr_write", write_msr(MSR_EFER, efer));
}

static void measure_devices(void)
{
	MEASURE("port_read_monitor", (void)in(SCRATCH));
	MEASURE("port_write_monitor", out(SCRATCH, 0));
	MEASURE("pm_timer_read", (void)in_32(PM_TIMER));
	MEASURE("mmio_pci_read", (void)pci_read());
}

static void measure_interrupts(void)
{
	apic_write(APIC_SPURIOUS, 0x1ff);
	MEASURE("apic_read", (void)apic_read(APIC_ID));
	MEASURE("apic_write", apic_write(APIC_EOI, 0));
	__asm__ volatile("sti");
	MEASURE("self_ipi", uint32_t before = interrupts; apic_write(APIC_COMMAND, 0x44000 | VECTOR);
		while (interrupts == before));
	__asm__ volatile("cli");
	MEASURE("halt_with_interrupt_waiting", apic_write(APIC_COMMAND, 0x44000 | VECTOR); halt());
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_TIMER, VECTOR);
	MEASURE("halt_until_timer", apic_write(APIC_TIMER_START, TIMER_WAIT); halt());
}

/* Sleeps until the device has answered. */
static void await_device(void)
{
	while (!device_is_done())
		halt();
}

/* The doorbell is answered before each next one, outside of what is measured. */
static void measure_doorbell(void)
{
	await_character();
	for (int round = -WARM_UP; round < SAMPLES; round++) {
		uint64_t start;

		device_request();
		start = counter();
		device_ring();
		samples[round < 0 ? 0 : round] = counter() - start;
		await_device();
	}
	report("doorbell");
}

static void measure_device(void)
{
	if (!device_start(VECTOR))
		return;
	measure_doorbell();
	MEASURE("halt_until_message", device_request(); device_ring(); await_device());
}

int main(void)
{
	set_gates();
	out(0x21, 0xff); /* whoever started us may have left the old interrupt controllers on */
	out(0xa1, 0xff);
	on_xen = cpuid(0x40000000) == XEN;
	put_text("EXIT begin\n");
	measure_instructions();
	measure_devices();
	measure_interrupts();
	measure_device();
	await_character();
	put_text("EXIT end\n");
	out(0xf4, 0); /* ends QEMU where it has such a device */
	__asm__ volatile("outw %0, %1" : : "a"((uint16_t)(1 << 13)), "Nd"((uint16_t)0x604)); /* ACPI S5, type 0 */
	return 0;
}

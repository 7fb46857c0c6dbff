/* SPDX-License-Identifier: MIT */
/*
 * Instructions of a guest that the hypervisor carries out: accesses to device registers, string moves through ports, and
 * moves from and to CR8, where the processor tells neither length nor operands. The bytes are fetched through the guest's page tables, once.
 */
#include "../../core/guest_platform.h"
#include "guest.h"

static enum mmio_mode code_mode(const struct vmcb *vmcb)
{
	if (svm_is_64bit(vmcb))
		return MMIO_CODE_64;
	return vmcb->cs.attributes & CODE_32BIT ? MMIO_CODE_32 : MMIO_CODE_16;
}

static struct guest_paging paging_of(const struct vmcb *vmcb)
{
	return (struct guest_paging){ vmcb->cr0, vmcb->cr3, vmcb->cr4, vmcb->efer, vmcb->rflags, vmcb->cpl };
}

static uint64_t code_address(const struct vmcb *vmcb, enum mmio_mode mode)
{
	return mode == MMIO_CODE_64 ? vmcb->rip : (vmcb->rip + vmcb->cs.base) & 0xffffffff;
}

uint32_t svm_guest_fetch(const struct vcpu *vcpu, uint8_t *bytes, uint32_t count)
{
	const struct vmcb *vmcb = svm_vcpu_of(vcpu)->vmcb;
	struct guest_paging paging = paging_of(vmcb);

	return guest_fetch(&vcpu->guest->platform->memory, &paging, code_address(vmcb, code_mode(vmcb)), bytes, count);
}

/* What string instructions find memory by. */
static void load_addressing(struct mmio_state *state, const struct vmcb *vmcb)
{
	const struct vmcb_segment *segments[] = { &vmcb->es, &vmcb->cs, &vmcb->ss,
						  &vmcb->ds, &vmcb->fs, &vmcb->gs };

	state->paging = paging_of(vmcb);
	/* In 64-bit code only FS and GS have a base. */
	for (unsigned int i = 0; i < ARRAY_COUNT(segments); i++)
		state->segment_base[i] = state->mode == MMIO_CODE_64 && i < 4 ? 0 : segments[i]->base;
}

/* @gpr: where the instruction's registers are changed */
static void load_state(struct mmio_state *state, const struct vmcb *vmcb, enum mmio_mode mode, uint64_t *gpr,
		       const struct mmio_instruction *instruction)
{
	state->rip = vmcb->rip;
	state->rflags = vmcb->rflags;
	state->mode = mode;
	state->gpr = gpr;
	gpr[GPR_RAX] = vmcb->rax;
	gpr[GPR_RSP] = vmcb->rsp;
	if (mmio_is_string(instruction))
		load_addressing(state, vmcb);
}

static void store_state(const struct mmio_state *state, struct vmcb *vmcb)
{
	vmcb->rax = state->gpr[GPR_RAX];
	vmcb->rsp = state->gpr[GPR_RSP];
	vmcb->rip = state->rip;
	vmcb->rflags = state->rflags;
	vmcb->interrupt_shadow = 0;
}

/* An access of the instruction to the platform. */
struct device_access {
	struct vcpu *vcpu;
	bool is_absent; /* nothing of the platform's was there */
};

static uint64_t read_device(void *context, uint64_t address, uint32_t size_bytes)
{
	struct device_access *access = context;
	uint64_t value = ~0ull;

	if (!guest_platform_mmio(access->vcpu, guest_phys_at(address), size_bytes, false, &value))
		access->is_absent = true;
	return value;
}

static void write_device(void *context, uint64_t address, uint32_t size_bytes, uint64_t value)
{
	struct device_access *access = context;

	if (!guest_platform_mmio(access->vcpu, guest_phys_at(address), size_bytes, true, &value))
		access->is_absent = true;
}

/* Apart from the loop of exits, which would leave it few registers. */
__attribute__((noinline)) bool svm_guest_mmio(struct processor *processor, struct vcpu *vcpu, uint64_t address, bool is_write)
{
	struct svm_vcpu *guest = svm_vcpu_of(vcpu);
	struct vmcb *vmcb = guest->vmcb;
	struct device_access access = { .vcpu = vcpu };
	struct mmio_device device = { read_device, write_device, &access };
	const enum mmio_mode mode = code_mode(vmcb);
	const struct guest_paging paging = paging_of(vmcb);
	const struct mmio_instruction *instruction;
	struct mmio_state state;
	struct memory *memory;

	if (!vcpu->guest->platform)
		return false;
	memory = &vcpu->guest->platform->memory;
	instruction = mmio_cache_find(&guest->instructions, memory, &paging, code_address(vmcb, mode), mode);
	if (!instruction)
		return false;
	load_state(&state, vmcb, mode, processor->gpr, instruction);
	if (!mmio_execute(&state, instruction, memory, address, is_write, &device) || access.is_absent)
		return false;
	store_state(&state, vmcb);
	return true;
}

bool svm_guest_string(struct processor *processor, struct vcpu *vcpu, uint16_t port, uint32_t size_bytes, bool is_read,
		      const struct mmio_device *device)
{
	struct vmcb *vmcb = svm_vcpu_of(vcpu)->vmcb;
	struct mmio_instruction instruction;
	struct mmio_state state;
	uint8_t bytes[MMIO_INSTRUCTION_BYTES];
	uint64_t gpr[GPR_COUNT];
	uint32_t count;

	if (!vcpu->guest->platform)
		return false;
	count = svm_guest_fetch(vcpu, bytes, sizeof(bytes));
	if (!mmio_decode_port(bytes, count, code_mode(vmcb), &instruction) ||
	    (instruction.kind == MMIO_INS) != is_read || instruction.size_bytes != size_bytes)
		return false;
	__builtin_memcpy(gpr, processor->gpr, sizeof(gpr));
	load_state(&state, vmcb, code_mode(vmcb), gpr, &instruction);
	if (!mmio_execute_port(&state, &instruction, &vcpu->guest->platform->memory, port, device))
		return false;
	/* Long work stops half way: the same element comes again after what is pending. */
	if (!vcpu->effects.is_unfinished) {
		__builtin_memcpy(processor->gpr, gpr, sizeof(gpr));
		store_state(&state, vmcb);
	}
	vcpu->effects.is_unfinished = false;
	return true;
}

bool svm_guest_cr8(struct processor *processor, struct vcpu *vcpu, bool is_write)
{
	struct local_apic *local = &vcpu->guest->platform->platform.apics.local[vcpu->index];
	struct vmcb *vmcb = svm_vcpu_of(vcpu)->vmcb;
	uint8_t bytes[MMIO_INSTRUCTION_BYTES];
	uint32_t count = svm_guest_fetch(vcpu, bytes, sizeof(bytes)), at = 0;
	uint64_t *gpr = processor->gpr;
	uint8_t rex = 0, reg;

	/* Prefixes, REX, 0F 20 or 0F 22, ModRM, whose mode bits mean nothing here (APM vol. 3, MOV CRn). */
	while (at < count && (bytes[at] == 0xf0 || bytes[at] == 0x66 || bytes[at] == 0xf2 || bytes[at] == 0xf3))
		at++;
	if (at < count && (bytes[at] & 0xf0) == 0x40)
		rex = bytes[at++];
	if (count - at < 3 || bytes[at] != 0x0f || bytes[at + 1] != (is_write ? 0x22 : 0x20))
		return false;
	reg = (bytes[at + 2] & 7) | (rex & 1) << 3;
	gpr[GPR_RAX] = vmcb->rax;
	gpr[GPR_RSP] = vmcb->rsp;
	if (is_write && gpr[reg] >> 4) {
		vendor_inject(processor, VECTOR_GP, 0);
		return true;
	}
	if (is_write)
		local->task_priority = (uint32_t)gpr[reg] << 4;
	else
		gpr[reg] = local->task_priority >> 4;
	vmcb->rax = gpr[GPR_RAX];
	vmcb->rsp = gpr[GPR_RSP];
	return svm_guest_advance(processor, vmcb, at + 3);
}

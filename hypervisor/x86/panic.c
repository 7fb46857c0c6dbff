/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor found a mistake of its own: it says all it knows and stops every processor.
 */
#include "hypervisor.h"
#include "power.h"

static uint32_t is_panicking;

static void stop(void)
{
	log_error("panic", "build %s, processor %u; the machine has stopped", machine.build_id,
		  arch_processor());
	processor_stop_others();
}

void panic(const char *reason)
{
	if (!__atomic_exchange_n(&is_panicking, 1, __ATOMIC_SEQ_CST)) {
		core.log.lock.word = 0; /* it may be this processor's own */
		log_error("panic", "%s", reason);
		stop();
	}
	power_park();
}

void panic_exception(const struct exception_frame *frame)
{
	static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

	if (!__atomic_exchange_n(&is_panicking, 1, __ATOMIC_SEQ_CST)) {
		core.log.lock.word = 0;
		log_error("panic", "exception %lu, error code %lx, address %lx", frame->vector,
			  frame->error, read_cr2());
		log_error("panic", "rip image+%lx, rsp %lx, rflags %lx, cr0 %lx, cr3 %lx, cr4 %lx",
			  frame->rip - (uint64_t)image_start, frame->rsp, frame->rflags, read_cr0(),
			  read_cr3(), read_cr4());
		for (unsigned int i = 0; i < GPR_COUNT; i++)
			if (i != GPR_RSP)
				log_error("panic", "%s %lx", names[i], frame->gpr[i]);
		stop();
	}
	power_park();
}

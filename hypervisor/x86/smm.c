/* SPDX-License-Identifier: MIT */
/*
 * System management mode runs above the hypervisor, so its code must be out of the service domain's
 * reach. PC firmware locks it. Where it is left open (some emulators' firmware), the hypervisor puts a
 * lone RSM at both places where a processor may enter it, and locks the chipset's window:
 *
 *   A8000h  the usual window, hidden behind the VGA area and opened by SMRAMC.D_OPEN
 *   38000h  where processors enter after reset if nobody moved them: plain RAM, taken for ourselves
 *
 * Register numbers: Intel 3 Series / Q35 datasheet, 5.1.24 (SMRAMC); AMD BKDG, HWCR.SmmLock.
 */
#include "config_space.h"
#include "cpu.h"
#include "power.h"

#define HOST_BRIDGE   0x0000u
#define Q35_ID	      0x29c08086u
#define SMRAMC_OFFSET 0x9cu /* the register is its second byte, 9Dh */
#define SMRAMC_SHIFT  8
#define SMRAMC_LOCK   0x10u
#define SMRAMC_OPEN   0x40u
#define SMRAMC_ENABLE 0x08u
#define SMRAMC_BASE   0x02u
#define HWCR_SMM_LOCK 1u

#define ENTRY_IN_WINDOW 0xa8000ull
#define ENTRY_IN_STUB	0x8000ull

static bool is_locked;

static void put_rsm(uint64_t address)
{
	volatile uint8_t *at = direct(address);

	at[0] = 0x0f;
	at[1] = 0xaa;
}

static void smramc_write(uint32_t rest, uint32_t value)
{
	config_space_write(HOST_BRIDGE, SMRAMC_OFFSET,
			   (rest & ~(0xffu << SMRAMC_SHIFT)) | value << SMRAMC_SHIFT);
}

void smm_close(void)
{
	uint32_t bridge = config_space_read(HOST_BRIDGE, 0);
	uint32_t smramc = config_space_read(HOST_BRIDGE, SMRAMC_OFFSET);

	if (bridge != Q35_ID) {
		/* HWCR is a register of AMD's alone, and so is a bridge of theirs. */
		is_locked = (bridge & 0xffff) == 0x1022 && (rdmsr(MSR_HWCR) & HWCR_SMM_LOCK);
	} else if (smramc >> SMRAMC_SHIFT & SMRAMC_LOCK) {
		is_locked = true;
	} else {
		smramc_write(smramc, SMRAMC_OPEN | SMRAMC_ENABLE | SMRAMC_BASE);
		put_rsm(ENTRY_IN_WINDOW);
		smramc_write(smramc, SMRAMC_ENABLE | SMRAMC_BASE | SMRAMC_LOCK);
		if (machine.info.smm_stub)
			put_rsm(machine.info.smm_stub + ENTRY_IN_STUB);
		is_locked = machine.info.smm_stub != 0;
	}
	if (is_locked)
		core.facts |= BULKHEAD_FACT_SMRAM_LOCKED;
	else
		log_warning("smm", "system management memory is not locked: SMI commands are refused");
}

bool power_smm_is_locked(void)
{
	return is_locked;
}

/* SPDX-License-Identifier: MIT */
/*
 * Test builds with one check removed (-Dweaken=NAME): where the emulator shows no effect of an attack, or
 * stock software stops it too, such a build is the control that shows that it is this check which stops it.
 * Without the option every test below is a constant false and leaves no code.
 */
#ifndef BULKHEAD_X86_WEAKEN_H
#define BULKHEAD_X86_WEAKEN_H

/** The checks that can be removed; one name each in meson_options.txt. */
enum weaken {
	WEAKEN_NONE,
	WEAKEN_MSR_WRITES, /* every WRMSR goes to the processor */
};

#ifndef BULKHEAD_WEAKEN
#define BULKHEAD_WEAKEN WEAKEN_NONE
#endif

static inline bool is_weakened(enum weaken check)
{
	return BULKHEAD_WEAKEN != WEAKEN_NONE && BULKHEAD_WEAKEN == check;
}

#endif

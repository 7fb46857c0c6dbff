/* SPDX-License-Identifier: MIT */
/* What <assert.h> is in a program without a C library: the loaders for UEFI and Multiboot. */
#define static_assert _Static_assert

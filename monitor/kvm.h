/* SPDX-License-Identifier: MIT */
/*
 * The machine's processors and interrupts over the KVM API: the same calls on Linux's KVM and on Bulkhead's driver.
 */
#ifndef BULKHEAD_MONITOR_KVM_H
#define BULKHEAD_MONITOR_KVM_H

#include "machine.h"

struct processor {
	struct machine *machine;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
};

/**
 * Opens the KVM device and finds out whether it is Bulkhead's driver (machine->on_bulkhead).
 * Returns false after filling @error with one line.
 */
bool kvm_open(struct machine *machine, const char *device, char *error, size_t error_bytes);

/** Makes the processors that the configuration asks for. Returns 0 or a negative errno. */
int kvm_create_processors(struct machine *machine);

/**
 * On the opened device of stock KVM, makes a machine with in-kernel interrupt chips, the RAM already in machine->ram, and its
 * processors (not running). Returns false after filling @error with one line.
 */
bool kvm_create(struct machine *machine, char *error, size_t error_bytes);

/** Starts a thread for every processor. Returns 0 or a negative errno. */
int kvm_start(struct machine *machine);

/** Waits until the machine has ended and every processor's thread has gone. */
enum machine_end kvm_wait(struct machine *machine);

void kvm_destroy(struct machine *machine);

/** Stops every processor and waits until all are out of the guest (@paused), or lets them go on. */
void kvm_pause(struct machine *machine, bool paused);

/**
 * Sends a message-signalled interrupt for every event on @event_fd.
 * @line: a number of its own for each fd, from 24 on (KVM_MSI_LINES of them)
 * @message: NULL detaches the fd (events then wait in it)
 * Returns 0 or a negative errno. With the machine's lock held.
 */
int kvm_route_message(struct machine *machine, int event_fd, unsigned int line, const struct virtio_message *message);

/** Lets every write of @size_bytes at a guest address add to @event_fd without an exit to the monitor, or stops that. */
int kvm_doorbell(struct machine *machine, int event_fd, uint64_t address, bool attached);

/** Sends a message-signalled interrupt once. */
void kvm_send_message(struct machine *machine, const struct virtio_message *message);

#define KVM_MSI_LINES 128u

#endif

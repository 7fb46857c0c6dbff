/* SPDX-License-Identifier: MIT */
/*
 * Drives KVM; see kvm.h and Documentation/virt/kvm/api.rst of Linux.
 */
#include "kvm.h"
#include "linux_boot.h"
#include "relay_device.h"

#include <bulkhead/hypercall.h>
#include <bulkhead/kvm.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KICK_SIGNAL   SIGUSR1
#define CPUID_ENTRIES 128u
#define FIRST_MSI_LINE 24u
#define KVM_OWN_PAGES  0xfeffc000ul /* four pages for older processors' real mode, between APIC and firmware */

/* Messages by line; the kernel takes the whole table at each change. */
static struct {
	bool attached[KVM_MSI_LINES];
	struct virtio_message messages[KVM_MSI_LINES];
} routes;

static void on_kick(int signal)
{
	(void)signal; /* interrupts KVM_RUN, nothing else */
}

void machine_end(struct machine *machine, enum machine_end reason)
{
	enum machine_end none = MACHINE_RUNNING;

	__atomic_compare_exchange_n(&machine->end, &none, reason, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < machine->processor_count; i++) {
		struct processor *processor = &machine->processors[i];

		__atomic_store_n(&processor->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (processor->started && !pthread_equal(processor->thread, pthread_self()))
			pthread_kill(processor->thread, KICK_SIGNAL);
	}
	pthread_cond_broadcast(&machine->changed);
}

void machine_set_line(struct machine *machine, unsigned int line, bool level)
{
	struct kvm_irq_level irq = { .irq = line, .level = level };

	(void)ioctl(machine->vm_fd, KVM_IRQ_LINE, &irq);
}

/** Gives a processor the CPUID that KVM supports, with its own APIC id and topology. */
static int set_cpuid(struct machine *machine, struct processor *processor)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));
	int status = -ENOMEM;

	if (!cpuid)
		return status;
	cpuid->nent = CPUID_ENTRIES;
	if (ioctl(machine->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid)) {
		status = -errno;
		goto out;
	}
	for (unsigned int i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		switch (entry->function) {
		case 1:
			entry->ebx = (entry->ebx & 0xff00) | processor->index << 24 |
				     machine->processor_count << 16;
			/* KVM leaves the hypervisor bit to us; without it Linux looks for no paravirtual clock. */
			entry->ecx |= 1u << 31;
			if (machine->processor_count > 1)
				entry->edx |= 1u << 28;
			break;
		case 4: /* every processor a core of its own */
			entry->eax = (entry->eax & 0x3fff) | (machine->processor_count - 1) << 26;
			break;
		case 0xb:
			entry->eax = entry->index ? 4 : 0;
			entry->ebx = entry->index ? machine->processor_count : 1;
			entry->ecx = entry->index | (entry->index == 0 ? 1u : entry->index == 1 ? 2u : 0u) << 8;
			entry->edx = processor->index;
			break;
		case 0x80000008:
			entry->ecx = machine->processor_count - 1;
			break;
		}
	}
	status = ioctl(processor->fd, KVM_SET_CPUID2, cpuid) ? -errno : 0;
out:
	free(cpuid);
	return status;
}

static int create_processor(struct machine *machine, unsigned int index)
{
	struct processor *processor = &machine->processors[index];
	int run_bytes = ioctl(machine->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	processor->machine = machine;
	processor->index = index;
	processor->fd = ioctl(machine->vm_fd, KVM_CREATE_VCPU, index);
	if (run_bytes < 0 || processor->fd < 0)
		return -errno;
	processor->run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, processor->fd, 0);
	if (processor->run == MAP_FAILED)
		return -errno;
	machine->processor_count = index + 1;
	return 0;
}

static int add_memory(struct machine *machine, uint32_t slot, uint64_t address, uint64_t bytes, void *host)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = address,
		.memory_size = bytes,
		.userspace_addr = (uint64_t)(uintptr_t)host,
	};

	if (bytes && ioctl(machine->vm_fd, KVM_SET_USER_MEMORY_REGION, &region))
		return -errno;
	return 0;
}

int kvm_create_processors(struct machine *machine)
{
	int status = 0;

	machine->processors = calloc(machine->config->processors, sizeof(*machine->processors));
	if (!machine->processors)
		return -ENOMEM;
	for (unsigned int i = 0; !status && i < machine->config->processors; i++)
		status = create_processor(machine, i);
	return status;
}

bool kvm_open(struct machine *machine, const char *device, char *error, size_t error_bytes)
{
	int version;

	machine->kvm_fd = open(device, O_RDWR | O_CLOEXEC);
	if (machine->kvm_fd < 0) {
		snprintf(error, error_bytes, "%s: %s; is the KVM module, or Bulkhead's driver, loaded?", device,
			 strerror(errno));
		return false;
	}
	if (ioctl(machine->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		snprintf(error, error_bytes, "%s: speaks no KVM API version %d", device, KVM_API_VERSION);
		return false;
	}
	version = ioctl(machine->kvm_fd, KVM_CHECK_EXTENSION, BULKHEAD_KVM_CAP);
	if (version > 0 && version >> 16 != BULKHEAD_ABI_VERSION >> 16) {
		snprintf(error, error_bytes, "%s: Bulkhead's interface is %x, this monitor needs %x; install both of one release",
			 device, (unsigned int)version, BULKHEAD_ABI_VERSION);
		return false;
	}
	machine->on_bulkhead = version > 0;
	return true;
}

bool kvm_create(struct machine *machine, char *error, size_t error_bytes)
{
	struct memory *ram = &machine->ram;
	const uint64_t identity_map = KVM_OWN_PAGES;
	const char *step = "creating the machine";
	int status;

	machine->vm_fd = ioctl(machine->kvm_fd, KVM_CREATE_VM, 0);
	if (machine->vm_fd < 0)
		goto failed;
	step = "creating the interrupt chips";
	if (ioctl(machine->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) ||
	    ioctl(machine->vm_fd, KVM_SET_TSS_ADDR, KVM_OWN_PAGES + 4096) || ioctl(machine->vm_fd, KVM_CREATE_IRQCHIP, 0))
		goto failed;
	step = "giving it memory";
	status = add_memory(machine, 0, 0, ram->low_bytes, ram->bytes);
	if (!status)
		status = add_memory(machine, 1, RAM_HIGH_START, ram->high_bytes, ram->bytes + ram->low_bytes);
	if (!status)
		status = add_memory(machine, 2, RAM_HIGH_START - ram->top_bytes, ram->top_bytes,
				    ram->bytes + ram->size_bytes - ram->top_bytes);
	if (!status) {
		step = "creating its processors";
		status = kvm_create_processors(machine);
	}
	for (unsigned int i = 0; !status && i < machine->processor_count; i++)
		status = set_cpuid(machine, &machine->processors[i]);
	if (!status)
		return true;
	errno = -status;
failed:
	snprintf(error, error_bytes, "%s: %s: %s", machine->config->name, step, strerror(errno));
	return false;
}

static void handle_port(struct machine *machine, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		uint32_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, run->io.size);
			machine_port_write(machine, run->io.port, run->io.size, value);
		} else {
			value = machine_port_read(machine, run->io.port, run->io.size);
			memcpy(data, &value, run->io.size);
		}
	}
}

static void handle_mmio(struct machine *machine, struct kvm_run *run)
{
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, run->mmio.len);
		machine_mmio_write(machine, run->mmio.phys_addr, run->mmio.len, value);
	} else {
		value = machine_mmio_read(machine, run->mmio.phys_addr, run->mmio.len);
		memcpy(run->mmio.data, &value, run->mmio.len);
	}
}

/** The guest's driver started or reset a device. */
static void handle_device(struct machine *machine, const struct kvm_run *run)
{
	struct bulkhead_kvm_device_exit exit;

	memcpy(&exit, &run->hw, sizeof(exit));
	for (unsigned int i = 0; i < machine->relay_device_count; i++)
		if (relay_device_slot(machine->relay_devices[i]) == exit.slot)
			relay_device_event(machine->relay_devices[i], &exit);
}

/** Deals with one exit. */
static void handle_exit(struct processor *processor)
{
	struct machine *machine = processor->machine;
	struct kvm_run *run = processor->run;

	machine->exits++;
	pthread_mutex_lock(&machine->lock);
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_port(machine, run);
		break;
	case KVM_EXIT_MMIO:
		handle_mmio(machine, run);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case BULKHEAD_KVM_EXIT_DEVICE:
		handle_device(machine, run);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		fprintf(stderr, "monitor: processor %u cannot go on: %s %llx\n", processor->index,
			machine->on_bulkhead ? "it left its memory and devices at" : "KVM cannot emulate what it does,",
			machine->on_bulkhead ? (unsigned long long)run->internal.data[0] : 0);
		machine_end(machine, MACHINE_ERROR);
		break;
	case KVM_EXIT_SHUTDOWN:
		machine_end(machine, MACHINE_RESET); /* a triple fault resets a PC */
		break;
	default:
		fprintf(stderr, "monitor: processor %u stopped for reason %u\n", processor->index, run->exit_reason);
		machine_end(machine, MACHINE_ERROR);
	}
	pthread_mutex_unlock(&machine->lock);
}

/** Waits while the machine is paused. Returns whether it still runs. */
static bool may_run(struct processor *processor)
{
	struct machine *machine = processor->machine;
	bool running;

	pthread_mutex_lock(&machine->lock);
	machine->running--;
	pthread_cond_broadcast(&machine->changed);
	while (machine->paused && machine->end == MACHINE_RUNNING)
		pthread_cond_wait(&machine->changed, &machine->lock);
	running = machine->end == MACHINE_RUNNING;
	if (running)
		__atomic_store_n(&processor->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	machine->running++;
	pthread_mutex_unlock(&machine->lock);
	return running;
}

static void *processor_main(void *argument)
{
	struct processor *processor = argument;
	struct machine *machine = processor->machine;

	while (!processor->run->immediate_exit || may_run(processor)) {
		if (ioctl(processor->fd, KVM_RUN, 0) == 0) {
			handle_exit(processor);
		} else if (errno != EINTR && errno != EAGAIN) {
			fprintf(stderr, "monitor: running processor %u: %s\n", processor->index, strerror(errno));
			machine_end(machine, MACHINE_ERROR);
		}
	}
	pthread_mutex_lock(&machine->lock);
	machine->running--;
	pthread_cond_broadcast(&machine->changed);
	pthread_mutex_unlock(&machine->lock);
	return NULL;
}

int kvm_start(struct machine *machine)
{
	struct sigaction action = { .sa_handler = on_kick };

	sigaction(KICK_SIGNAL, &action, NULL);
	machine->running = machine->processor_count;
	for (unsigned int i = 0; i < machine->processor_count; i++) {
		struct processor *processor = &machine->processors[i];
		int status = pthread_create(&processor->thread, NULL, processor_main, processor);

		if (status)
			return -status;
		processor->started = true;
	}
	return 0;
}

enum machine_end kvm_wait(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->processor_count; i++)
		if (machine->processors[i].started)
			pthread_join(machine->processors[i].thread, NULL);
	return machine->end;
}

void kvm_destroy(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->processor_count; i++)
		close(machine->processors[i].fd);
	free(machine->processors);
	if (machine->vm_fd >= 0)
		close(machine->vm_fd);
	if (machine->kvm_fd >= 0)
		close(machine->kvm_fd);
}

void kvm_pause(struct machine *machine, bool paused)
{
	pthread_mutex_lock(&machine->lock);
	machine->paused = paused;
	pthread_cond_broadcast(&machine->changed);
	while (paused && machine->running && machine->end == MACHINE_RUNNING) {
		for (unsigned int i = 0; i < machine->processor_count; i++) {
			__atomic_store_n(&machine->processors[i].run->immediate_exit, 1, __ATOMIC_SEQ_CST);
			pthread_kill(machine->processors[i].thread, KICK_SIGNAL);
		}
		pthread_cond_wait(&machine->changed, &machine->lock);
	}
	pthread_mutex_unlock(&machine->lock);
}

static int set_routes(struct machine *machine)
{
	struct kvm_irq_routing *table =
		calloc(1, sizeof(*table) + (KVM_MSI_LINES + 40) * sizeof(table->entries[0]));
	int status;

	if (!table)
		return -ENOMEM;
	/* The table replaces the kernel's own: lines 0..15 to the 8259s, 0..23 to the I/O APIC, 0 to its input 2. */
	for (unsigned int i = 0; i < 40; i++) {
		unsigned int line = i < 16 ? i : i - 16;
		struct kvm_irq_routing_entry *entry = &table->entries[table->nr];

		if (i >= 16 && line == 2)
			continue;
		entry->gsi = line;
		entry->type = KVM_IRQ_ROUTING_IRQCHIP;
		entry->u.irqchip.irqchip = i >= 16 ? KVM_IRQCHIP_IOAPIC : line < 8 ? KVM_IRQCHIP_PIC_MASTER :
										     KVM_IRQCHIP_PIC_SLAVE;
		entry->u.irqchip.pin = i >= 16 ? (line == 0 ? 2 : line) : line % 8;
		table->nr++;
	}
	for (unsigned int i = 0; i < KVM_MSI_LINES; i++) {
		struct kvm_irq_routing_entry *entry = &table->entries[table->nr];

		if (!routes.attached[i])
			continue;
		entry->gsi = FIRST_MSI_LINE + i;
		entry->type = KVM_IRQ_ROUTING_MSI;
		entry->u.msi.address_lo = (uint32_t)routes.messages[i].address;
		entry->u.msi.address_hi = (uint32_t)(routes.messages[i].address >> 32);
		entry->u.msi.data = routes.messages[i].data;
		table->nr++;
	}
	status = ioctl(machine->vm_fd, KVM_SET_GSI_ROUTING, table) ? -errno : 0;
	free(table);
	return status;
}

int kvm_route_message(struct machine *machine, int event_fd, unsigned int line, const struct virtio_message *message)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)event_fd, .gsi = FIRST_MSI_LINE + line };
	int status;

	if (line >= KVM_MSI_LINES)
		return -EINVAL;
	if (!message) {
		if (!routes.attached[line])
			return 0;
		irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
		routes.attached[line] = false;
		return ioctl(machine->vm_fd, KVM_IRQFD, &irqfd) ? -errno : 0;
	}
	routes.messages[line] = *message;
	if (routes.attached[line])
		return set_routes(machine);
	routes.attached[line] = true;
	status = set_routes(machine);
	/* Attaching looks at the fd: events that waited while the vector was masked are sent now. */
	if (!status && ioctl(machine->vm_fd, KVM_IRQFD, &irqfd))
		status = -errno;
	return status;
}

int kvm_doorbell(struct machine *machine, int event_fd, uint64_t address, bool attached)
{
	struct kvm_ioeventfd doorbell = {
		.addr = address,
		.len = 2,
		.fd = event_fd,
		.flags = attached ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	return ioctl(machine->vm_fd, KVM_IOEVENTFD, &doorbell) ? -errno : 0;
}

void kvm_send_message(struct machine *machine, const struct virtio_message *message)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)message->address,
		.address_hi = (uint32_t)(message->address >> 32),
		.data = message->data,
	};

	(void)ioctl(machine->vm_fd, KVM_SIGNAL_MSI, &msi);
}

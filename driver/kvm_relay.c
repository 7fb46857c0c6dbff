// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Relay areas and what goes on there. A backend signals an eventfd when it has completed requests; a thread then has the
 * hypervisor copy the completions, piece by piece, which may take long and so is never done where the signal arrives. It
 * is a vCPU's own thread, if one is out of the guest and one piece is all; else a thread of the guest.
 */
#include "kvm.h"

#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/version.h>

#define CALL_BITS (BULKHEAD_DEVICES_MAX * BULKHEAD_QUEUES_MAX)

void kvm_relay_signal(struct eventfd_ctx *event)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
	eventfd_signal(event, 1);
#else
	eventfd_signal(event);
#endif
}

/** Has the hypervisor take some of what the backend of a queue has completed. Returns whether there is more. */
static bool drain_piece(struct guest_queue *queue)
{
	struct guest *guest = queue->guest;
	const struct guest_device *device = &guest->devices[queue->bit / BULKHEAD_QUEUES_MAX];
	const struct hypercall call = { BULKHEAD_CALL_PLATFORM_BACKEND,
					{ guest->handle, device->slot << 8 | queue->bit % BULKHEAD_QUEUES_MAX } };
	u64 effects, status = hypercall_once(&call, &effects);

	if (status == BULKHEAD_OK || status == BULKHEAD_AGAIN)
		kvm_platform_effects(guest, effects, queue);
	return status == BULKHEAD_AGAIN;
}

/** A piece for each queue whose backend has signalled. Returns whether there is more. */
static bool drain_calls(struct guest *guest)
{
	unsigned int bit;
	bool more = false;

	for_each_set_bit(bit, guest->calls, CALL_BITS) {
		clear_bit(bit, guest->calls);
		smp_mb__after_atomic(); /* what is completed after this sets the bit again */
		if (!guest->is_sealed ||
		    !drain_piece(&guest->devices[bit / BULKHEAD_QUEUES_MAX].queues[bit % BULKHEAD_QUEUES_MAX]))
			continue;
		set_bit(bit, guest->calls);
		more = true;
	}
	return more;
}

static int worker_main(void *argument)
{
	struct guest *guest = argument;

	while (!kthread_should_stop()) {
		set_current_state(TASK_IDLE);
		if (bitmap_empty(guest->calls, CALL_BITS) && !kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
		while (drain_calls(guest) && !kthread_should_stop())
			cond_resched();
	}
	return 0;
}

void kvm_relay_offer(struct vcpu *vcpu)
{
	if (vcpu->guest->worker && !READ_ONCE(vcpu->guest->drainer))
		cmpxchg(&vcpu->guest->drainer, NULL, vcpu);
}

bool kvm_relay_has_calls(const struct vcpu *vcpu)
{
	return READ_ONCE(vcpu->guest->drainer) == vcpu && !bitmap_empty(vcpu->guest->calls, CALL_BITS);
}

void kvm_relay_withdraw(struct vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;

	if (READ_ONCE(guest->drainer) != vcpu)
		return;
	WRITE_ONCE(guest->drainer, NULL);
	smp_mb(); /* see on_call() */
	if (drain_calls(guest))
		wake_up_process(guest->worker);
}

/** The backend signalled its eventfd. Called with the eventfd's lock held, interrupts off. */
static int on_call(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct guest_queue *queue = container_of(wait, struct guest_queue, call_wait);
	struct vcpu *drainer;
	u64 count;

	if (key_to_poll(key) & EPOLLIN) {
		eventfd_ctx_do_read(queue->call, &count);
		set_bit(queue->bit, queue->guest->calls);
		smp_mb__after_atomic(); /* an offer that is withdrawn after these looks sees the bit, and so does who falls asleep */
		drainer = READ_ONCE(queue->guest->drainer);
		if (!drainer)
			wake_up_process(queue->guest->worker);
		else if (waitqueue_active(&drainer->wait))
			wake_up(&drainer->wait);
	}
	return 0;
}

static void add_call_wait(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	struct guest_queue *queue = container_of(table, struct guest_queue, call_poll);

	add_wait_queue(head, &queue->call_wait);
}

static void put_pages(struct page **pages)
{
	for (unsigned int i = 0; i < BULKHEAD_RELAY_PAGES; i++)
		if (pages[i])
			put_page(pages[i]);
	kvfree(pages);
}

/** The pages of a memfd from an offset on, held in memory. Returns NULL or a pointer error. */
static struct page **get_pages(int fd, u64 offset)
{
	struct file *file = fget(fd);
	struct page **pages;
	long error = -EINVAL;

	if (!file)
		return ERR_PTR(-EBADF);
	pages = kvcalloc(BULKHEAD_RELAY_PAGES, sizeof(pages[0]), GFP_KERNEL_ACCOUNT);
	if (!pages) {
		fput(file);
		return ERR_PTR(-ENOMEM);
	}
	if (!S_ISREG(file_inode(file)->i_mode) || file_inode(file)->i_sb->s_magic != TMPFS_MAGIC ||
	    (file->f_mode & (FMODE_READ | FMODE_WRITE)) != (FMODE_READ | FMODE_WRITE) ||
	    offset > (u64)i_size_read(file_inode(file)) ||
	    i_size_read(file_inode(file)) - offset < BULKHEAD_RELAY_AREA_BYTES)
		goto failed;
	mapping_set_unevictable(file->f_mapping); /* so that the pages stay the file's */
	for (unsigned int i = 0; i < BULKHEAD_RELAY_PAGES; i++) {
		struct page *page = shmem_read_mapping_page_gfp(file->f_mapping, offset / PAGE_SIZE + i,
								GFP_KERNEL | __GFP_ACCOUNT);

		if (IS_ERR(page)) {
			error = PTR_ERR(page);
			goto failed;
		}
		pages[i] = page;
	}
	fput(file);
	return pages;
failed:
	put_pages(pages);
	fput(file);
	return ERR_PTR(error);
}

static int give_area(struct guest *guest, const struct bulkhead_kvm_relay *relay, struct page **pages)
{
	u64 *list = (u64 *)get_zeroed_page(GFP_KERNEL);
	const struct hypercall call = { BULKHEAD_CALL_PLATFORM_RELAY,
					{ guest->handle, relay->slot << 8 | relay->queue,
					  list ? virt_to_phys(list) : 0 } };
	int error;

	if (!list)
		return -ENOMEM;
	for (unsigned int i = 0; i < BULKHEAD_RELAY_PAGES; i++)
		list[i] = page_to_phys(pages[i]);
	error = kvm_tables_call(guest, &call, NULL);
	free_page((unsigned long)list);
	return error;
}

static int start_worker(struct guest *guest)
{
	struct task_struct *worker;

	if (guest->worker)
		return 0;
	worker = kthread_run(worker_main, guest, "bulkhead/%llu", guest->handle);
	if (IS_ERR(worker))
		return PTR_ERR(worker);
	guest->worker = worker;
	return 0;
}

int kvm_relay_create(struct guest *guest, struct guest_queue *queue, const struct bulkhead_kvm_relay *relay)
{
	struct eventfd_ctx *kick, *call;
	struct file *call_file;
	struct page **pages;
	int error;

	if (queue->pages)
		return -EEXIST;
	error = start_worker(guest);
	if (error)
		return error;
	kick = eventfd_ctx_fdget(relay->kick_fd);
	if (IS_ERR(kick))
		return PTR_ERR(kick);
	call_file = eventfd_fget(relay->call_fd);
	if (IS_ERR(call_file)) {
		error = PTR_ERR(call_file);
		goto put_kick;
	}
	call = eventfd_ctx_fileget(call_file);
	pages = get_pages(relay->area_fd, relay->area_offset);
	error = PTR_ERR_OR_ZERO(pages);
	if (error)
		goto put_call;
	error = give_area(guest, relay, pages);
	if (error) {
		put_pages(pages);
		goto put_call;
	}
	queue->pages = pages;
	queue->kick = kick;
	queue->call = call;
	queue->call_file = call_file;
	init_waitqueue_func_entry(&queue->call_wait, on_call);
	init_poll_funcptr(&queue->call_poll, add_call_wait);
	if (vfs_poll(call_file, &queue->call_poll) & EPOLLIN) {
		set_bit(queue->bit, guest->calls);
		wake_up_process(guest->worker);
	}
	return 0;
put_call:
	eventfd_ctx_put(call);
	fput(call_file);
put_kick:
	eventfd_ctx_put(kick);
	return error;
}

/** For every queue that has an area. */
#define for_each_queue(guest, queue)                                                                               \
	for (unsigned int bit = 0; bit < (guest)->device_count * BULKHEAD_QUEUES_MAX; bit++)                       \
		if (((queue) = &(guest)->devices[bit / BULKHEAD_QUEUES_MAX].queues[bit % BULKHEAD_QUEUES_MAX])->pages)

void kvm_relay_stop(struct guest *guest)
{
	struct guest_queue *queue;
	u64 count;

	for_each_queue(guest, queue)
		eventfd_ctx_remove_wait_queue(queue->call, &queue->call_wait, &count);
	if (guest->worker)
		kthread_stop(guest->worker);
	for_each_queue(guest, queue) {
		eventfd_ctx_put(queue->call);
		eventfd_ctx_put(queue->kick);
		fput(queue->call_file);
	}
}

void kvm_relay_free(struct guest *guest)
{
	struct guest_queue *queue;

	for_each_queue(guest, queue)
		put_pages(queue->pages);
}

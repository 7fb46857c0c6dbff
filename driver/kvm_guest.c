// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A guest's file: its ioctls, and its end.
 */
#define pr_fmt(fmt) "bulkhead: " fmt

#include "kvm.h"

#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

void kvm_guest_get(struct guest *guest)
{
	kref_get(&guest->refs);
}

/** Ends the guest in the hypervisor. Returns false if not everything came back. */
static bool destroy(struct guest *guest)
{
	const struct hypercall call = { BULKHEAD_CALL_GUEST_DESTROY, { guest->handle } };
	int error;

	while (guest->handle) {
		error = hypercall_make(&call, NULL);
		if (!error || error == -ENOENT)
			return true;
		if (error == -ENOMEM)
			error = kvm_tables_pay_service();
		else if (error == -EBUSY) /* somebody else's run: any interrupt ends it */
			msleep(1);
		else
			pr_err("guest %llu cannot be ended: %d\n", guest->handle, error);
		if (error && error != -EBUSY)
			return false;
	}
	return true;
}

static void guest_release(struct kref *refs)
{
	struct guest *guest = container_of(refs, struct guest, refs);

	kvm_relay_stop(guest);
	if (!destroy(guest)) {
		/* Pages that did not come back must not be used again: they are lost, and nothing worse happens. */
		pr_err("the memory of guest %llu stays reserved; restart the machine to get it back\n", guest->handle);
		return;
	}
	for (unsigned int i = 0; i < BULKHEAD_MAX_VCPUS; i++)
		if (guest->vcpus[i])
			kvm_vcpu_free(guest->vcpus[i]);
	kvm_memory_free(guest);
	kvm_relay_free(guest);
	if (guest->platform)
		__free_pages(guest->platform, guest->platform_order);
	if (guest->root)
		__free_page(guest->root);
	kvm_tables_free(guest);
	kvm_tables_refund();
	mmdrop(guest->mm);
	kfree(guest);
}

void kvm_guest_put(struct guest *guest)
{
	kref_put(&guest->refs, guest_release);
}

static int initialise(struct guest *guest, const struct bulkhead_kvm_init *init)
{
	struct hypercall call = { BULKHEAD_CALL_GUEST_CREATE, { 0, init->flags } };
	int error;

	if (guest->handle || init->reserved || init->flags & ~BULKHEAD_GUEST_PROTECTED)
		return -EINVAL;
	guest->root = alloc_page(GFP_KERNEL_ACCOUNT);
	if (!guest->root)
		return -ENOMEM;
	call.arguments[0] = page_to_phys(guest->root);
	error = kvm_tables_call(guest, &call, &guest->handle);
	if (error) {
		guest->handle = 0;
		__free_page(guest->root);
		guest->root = NULL;
		return error;
	}
	guest->is_protected = init->flags & BULKHEAD_GUEST_PROTECTED;
	return guest->wants_platform ? kvm_platform_create(guest) : 0;
}

static int seal(struct guest *guest)
{
	const struct hypercall call = { BULKHEAD_CALL_GUEST_SEAL, { guest->handle } };
	int error = kvm_memory_fill_all(guest);

	for (unsigned int i = 0; i < BULKHEAD_MAX_VCPUS && !error; i++)
		if (guest->vcpus[i])
			error = kvm_vcpu_set_state(guest->vcpus[i]);
	if (!error)
		error = hypercall_make(&call, NULL);
	guest->is_sealed = !error;
	return error;
}

static int read_measurement(struct guest *guest, void *page)
{
	const struct hypercall call = { BULKHEAD_CALL_GUEST_MEASURE, { guest->handle, virt_to_phys(page) } };

	return hypercall_make(&call, NULL);
}

static int measure(struct guest *guest, void __user *user)
{
	void *page = (void *)get_zeroed_page(GFP_KERNEL);
	int error;

	if (!page)
		return -ENOMEM;
	error = read_measurement(guest, page);
	if (!error && copy_to_user(user, page, sizeof(struct bulkhead_measurement)))
		error = -EFAULT;
	free_page((unsigned long)page);
	return error;
}

static int encrypt_operation(struct guest *guest, void __user *user)
{
	struct bulkhead_kvm_operation operation;
	struct bulkhead_kvm_init init;
	struct bulkhead_kvm_load load;
	void __user *argument;

	if (copy_from_user(&operation, user, sizeof(operation)))
		return -EFAULT;
	argument = (void __user *)operation.argument;
	if (operation.reserved || (operation.operation != BULKHEAD_KVM_INIT && !guest->handle))
		return -EINVAL;
	switch (operation.operation) {
	case BULKHEAD_KVM_INIT:
		return copy_from_user(&init, argument, sizeof(init)) ? -EFAULT : initialise(guest, &init);
	case BULKHEAD_KVM_LOAD:
		if (guest->is_sealed)
			return -EACCES;
		return copy_from_user(&load, argument, sizeof(load)) ? -EFAULT : kvm_memory_load(guest, &load);
	case BULKHEAD_KVM_SEAL:
		return guest->is_sealed ? -EACCES : seal(guest);
	case BULKHEAD_KVM_MEASURE:
		return measure(guest, argument);
	default:
		return kvm_platform_operation(guest, &operation);
	}
}

static int set_region(struct guest *guest, void __user *user)
{
	struct kvm_userspace_memory_region region;

	if (guest->is_sealed)
		return -EACCES;
	return copy_from_user(&region, user, sizeof(region)) ? -EFAULT : kvm_memory_set_region(guest, &region);
}

static int create_chips(struct guest *guest)
{
	if (guest->wants_platform)
		return -EEXIST;
	guest->wants_platform = true;
	return guest->handle ? kvm_platform_create(guest) : 0;
}

static int set_line(struct guest *guest, void __user *user)
{
	struct kvm_irq_level line;

	return copy_from_user(&line, user, sizeof(line)) ? -EFAULT : kvm_platform_line(guest, line.irq, line.level);
}

static long locked_ioctl(struct guest *guest, unsigned int request, unsigned long argument)
{
	void __user *user = (void __user *)argument;

	if (guest->is_broken)
		return -EIO;
	switch (request) {
	case KVM_CREATE_VCPU:
		return kvm_vcpu_create(guest, argument);
	case KVM_SET_USER_MEMORY_REGION:
		return set_region(guest, user);
	case KVM_CREATE_IRQCHIP:
		return create_chips(guest);
	case KVM_SET_TSS_ADDR: /* Intel's real mode needs no help here */
		return 0;
	case KVM_MEMORY_ENCRYPT_OP:
		return encrypt_operation(guest, user);
	case KVM_IRQFD:
	case KVM_IOEVENTFD:
	case KVM_SET_GSI_ROUTING:
	case KVM_SIGNAL_MSI: /* devices, their interrupts and doorbells are the hypervisor's */
		return -EOPNOTSUPP;
	default:
		return -ENOTTY;
	}
}

static long guest_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	struct guest *guest = file->private_data;
	long result;

	if (request == KVM_CHECK_EXTENSION)
		return kvm_check_extension(argument);
	if (request == KVM_IRQ_LINE)
		return set_line(guest, (void __user *)argument);
	if (mutex_lock_killable(&guest->lock))
		return -EINTR;
	result = locked_ioctl(guest, request, argument);
	mutex_unlock(&guest->lock);
	return result;
}

static int guest_close(struct inode *inode, struct file *file)
{
	kvm_guest_put(file->private_data);
	return 0;
}

static const struct file_operations guest_operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = guest_ioctl,
	.release = guest_close,
	.llseek = noop_llseek,
};

int kvm_guest_measure(int fd, void *page)
{
	struct file *file = fget(fd);
	struct guest *guest;
	int error = -EINVAL;

	if (!file)
		return -EBADF;
	if (file->f_op == &guest_operations) {
		guest = file->private_data;
		error = mutex_lock_killable(&guest->lock);
		if (!error) {
			error = guest->handle ? read_measurement(guest, page) : -EINVAL;
			mutex_unlock(&guest->lock);
		}
	}
	fput(file);
	return error;
}

int kvm_guest_create(void)
{
	struct guest *guest = kzalloc(sizeof(*guest), GFP_KERNEL_ACCOUNT);
	int fd;

	if (!guest)
		return -ENOMEM;
	kref_init(&guest->refs);
	mutex_init(&guest->lock);
	mutex_init(&guest->memory_lock);
	INIT_LIST_HEAD(&guest->tables);
	xa_init(&guest->areas);
	guest->mm = current->mm;
	mmgrab(guest->mm);
	fd = anon_inode_getfd("kvm-vm", &guest_operations, guest, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		kvm_guest_put(guest);
	return fd;
}

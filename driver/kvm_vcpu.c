// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A vCPU's file: its registers before the seal, and running it (kvm_run.c).
 */
#include "kvm.h"

#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <trace/events/ipi.h>

#define RUN_PAGES 2 /* struct kvm_run, and the data of a port access */
#define CPUID_ENTRIES_MAX 256

void kvm_vcpu_wake(struct vcpu *vcpu)
{
	int processor;

	atomic_set(&vcpu->wake, 1);
	/* Pairs with the barriers in kvm_run.c: between saying where it runs and entering the guest, and of falling asleep. */
	smp_mb();
	if (waitqueue_active(&vcpu->wait))
		wake_up(&vcpu->wait);
	processor = READ_ONCE(vcpu->processor);
	if (processor >= 0 && processor != raw_smp_processor_id())
		smp_send_reschedule(processor);
}

static vm_fault_t run_fault(struct vm_fault *fault)
{
	struct vcpu *vcpu = fault->vma->vm_file->private_data;

	if (fault->pgoff >= RUN_PAGES)
		return VM_FAULT_SIGBUS;
	fault->page = virt_to_page((u8 *)vcpu->run + fault->pgoff * PAGE_SIZE);
	get_page(fault->page);
	return 0;
}

static const struct vm_operations_struct run_operations = {
	.fault = run_fault,
};

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &run_operations;
	return 0;
}

/** Moves the state between the vCPU and the hypervisor through a page. */
static int exchange_state(struct vcpu *vcpu, u64 number)
{
	void *page = (void *)get_zeroed_page(GFP_KERNEL);
	const struct hypercall call = { number, { vcpu->guest->handle, vcpu->index, page ? virt_to_phys(page) : 0 } };
	int error;

	if (!page)
		return -ENOMEM;
	memcpy(page, &vcpu->state, sizeof(vcpu->state));
	error = hypercall_make(&call, NULL);
	if (!error)
		memcpy(&vcpu->state, page, sizeof(vcpu->state));
	free_page((unsigned long)page);
	return error;
}

int kvm_vcpu_set_state(struct vcpu *vcpu)
{
	return exchange_state(vcpu, BULKHEAD_CALL_VCPU_SET);
}

/** Before the seal the state is here; afterwards the hypervisor has it, and an unprotected guest's may be asked for. */
static int open_state(struct vcpu *vcpu)
{
	if (!vcpu->guest->is_sealed)
		return 0;
	return vcpu->guest->is_protected ? -EACCES : exchange_state(vcpu, BULKHEAD_CALL_VCPU_GET);
}

static int close_state(struct vcpu *vcpu)
{
	return vcpu->guest->is_sealed ? exchange_state(vcpu, BULKHEAD_CALL_VCPU_SET) : 0;
}

static int set_registers(struct vcpu *vcpu, const void __user *user)
{
	struct kvm_regs registers;
	int error = open_state(vcpu);

	if (error)
		return error;
	if (copy_from_user(&registers, user, sizeof(registers)))
		return -EFAULT;
	kvm_registers_set(&vcpu->state, &registers);
	return close_state(vcpu);
}

static int get_registers(struct vcpu *vcpu, void __user *user)
{
	struct kvm_regs registers;
	int error = open_state(vcpu);

	if (error)
		return error;
	kvm_registers_get(&vcpu->state, &registers);
	return copy_to_user(user, &registers, sizeof(registers)) ? -EFAULT : 0;
}

static int set_special(struct vcpu *vcpu, const void __user *user)
{
	struct kvm_sregs special;
	int error = open_state(vcpu);

	if (error)
		return error;
	if (copy_from_user(&special, user, sizeof(special)))
		return -EFAULT;
	error = kvm_registers_set_special(vcpu, &special);
	return error ? error : close_state(vcpu);
}

static int get_special(struct vcpu *vcpu, void __user *user)
{
	struct kvm_sregs special;
	int error = open_state(vcpu);

	if (error)
		return error;
	kvm_registers_get_special(vcpu, &special);
	return copy_to_user(user, &special, sizeof(special)) ? -EFAULT : 0;
}

/* What a guest reads from CPUID is the hypervisor's to say; a wish is heard and changes nothing. */
static int set_cpuid(struct vcpu *vcpu, const void __user *user)
{
	struct kvm_cpuid2 head;

	if (vcpu->guest->is_sealed)
		return -EACCES;
	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	return head.nent > CPUID_ENTRIES_MAX ? -E2BIG : 0;
}

static long vcpu_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	struct vcpu *vcpu = file->private_data;
	void __user *user = (void __user *)argument;
	long result;

	if (mutex_lock_killable(&vcpu->lock))
		return -EINTR;
	switch (request) {
	case KVM_RUN:
		result = argument ? -EINVAL : kvm_run(vcpu);
		break;
	case KVM_GET_REGS:
		result = get_registers(vcpu, user);
		break;
	case KVM_SET_REGS:
		result = set_registers(vcpu, user);
		break;
	case KVM_GET_SREGS:
		result = get_special(vcpu, user);
		break;
	case KVM_SET_SREGS:
		result = set_special(vcpu, user);
		break;
	case KVM_SET_CPUID2:
		result = set_cpuid(vcpu, user);
		break;
	default:
		result = -ENOTTY;
	}
	mutex_unlock(&vcpu->lock);
	return result;
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct vcpu *vcpu = file->private_data;

	kvm_guest_put(vcpu->guest);
	return 0;
}

static const struct file_operations vcpu_operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.release = vcpu_release,
	.llseek = noop_llseek,
};

void kvm_vcpu_free(struct vcpu *vcpu)
{
	hrtimer_cancel(&vcpu->timer);
	if (vcpu->pages)
		__free_pages(vcpu->pages, vcpu->page_order);
	free_page((unsigned long)vcpu->shared);
	/* Two single pages: a mapping of the monitor's may outlive the vCPU. */
	if (vcpu->run) {
		free_page((unsigned long)vcpu->run);
		free_page((unsigned long)vcpu->run + PAGE_SIZE);
	}
	kfree(vcpu);
}

static struct vcpu *allocate(struct guest *guest, u32 index)
{
	struct vcpu *vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);
	struct page *run;

	if (!vcpu)
		return NULL;
	vcpu->guest = guest;
	vcpu->index = index;
	vcpu->processor = -1;
	mutex_init(&vcpu->lock);
	init_waitqueue_head(&vcpu->wait);
	kvm_run_init(vcpu);
	kvm_registers_reset(&vcpu->state);
	vcpu->page_order = get_order((unsigned long)kvm_facts.vcpu_pages * PAGE_SIZE);
	vcpu->pages = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO, vcpu->page_order);
	vcpu->shared = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	run = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO, get_order(RUN_PAGES * PAGE_SIZE));
	if (run) {
		split_page(run, get_order(RUN_PAGES * PAGE_SIZE));
		vcpu->run = page_address(run);
	}
	if (vcpu->pages && vcpu->shared && vcpu->run)
		return vcpu;
	kvm_vcpu_free(vcpu);
	return NULL;
}

int kvm_vcpu_create(struct guest *guest, u32 index)
{
	struct hypercall call = { BULKHEAD_CALL_VCPU_CREATE, { guest->handle, index } };
	struct vcpu *vcpu;
	int error;

	if (!guest->handle || index >= BULKHEAD_MAX_VCPUS)
		return -EINVAL;
	if (guest->is_sealed)
		return -EACCES;
	if (guest->vcpus[index])
		return -EEXIST;
	vcpu = allocate(guest, index);
	if (!vcpu)
		return -ENOMEM;
	call.arguments[2] = page_to_phys(vcpu->pages);
	call.arguments[3] = virt_to_phys(vcpu->shared);
	error = kvm_tables_call(guest, &call, NULL);
	if (error) {
		kvm_vcpu_free(vcpu);
		return error;
	}
	/* From here on the pages are the hypervisor's until the guest's end, which frees them. */
	guest->vcpus[index] = vcpu;
	kvm_guest_get(guest);
	error = anon_inode_getfd("kvm-vcpu", &vcpu_operations, vcpu, O_RDWR | O_CLOEXEC);
	if (error < 0) {
		guest->is_broken = true;
		kvm_guest_put(guest);
	}
	return error;
}

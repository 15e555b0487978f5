// SPDX-License-Identifier: GPL-2.0
/*
 * gmem_plant: makes the kernel misbehave on request, so that gmem can be seen to
 * notice. Write "COMMAND [NUMBER]" to /sys/kernel/debug/gmem_plant; reading it lists
 * the commands. The write happens in the caller's context unless the command says
 * otherwise. EINVAL: unknown command, or a number out of range; EOPNOTSUPP: this
 * kernel is built without what would notice. For throw-away VMs only.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nmi.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <asm/desc.h>

#define SECONDS_MAX 300
#define LEAK_MAX 65536

static DEFINE_MUTEX(first_lock);
static DEFINE_MUTEX(second_lock);
static struct dentry *control;

/* Functions that must stand in the stack trace under their own name. */
#define PLANT static noinline void

PLANT plant_warn(unsigned long n)
{
	WARN(1, "gmem_plant: a planted warning\n");
}

PLANT plant_warn_once(unsigned long n)
{
	WARN_ON_ONCE(1);
}

static int late_warn_thread(void *delay_ms)
{
	msleep((unsigned long)delay_ms);
	WARN(1, "gmem_plant: a planted warning in another task\n");
	return 0;
}

/* In the kernel thread "gmem_plant_warn", N ms after the write returned. */
PLANT plant_kthread_warn(unsigned long n)
{
	kthread_run(late_warn_thread, (void *)n, "gmem_plant_warn");
}

PLANT plant_bug(unsigned long n)
{
	BUG();
}

PLANT plant_null_deref(unsigned long n)
{
	int *volatile null = NULL;

	*null = 1;
}

PLANT plant_gpf(unsigned long n)
{
	int *volatile non_canonical = (int *)0x6d656d6700000000UL;

	*non_canonical = 1;
}

PLANT plant_uaf(unsigned long n)
{
	char *volatile object = kmalloc(128, GFP_KERNEL);

	if (!object)
		return;
	kfree(object);
	object[8] = 0x61; /* KASAN and KFENCE see the write; SLUB its poison, when the object is used next */
}

PLANT plant_slab_overflow(unsigned long n)
{
	char *volatile object = kmalloc(64, GFP_KERNEL);

	if (!object)
		return;
	object[64] = 0x61;
	kfree(object); /* with slab_debug=Z, where SLUB looks at its red zone */
}

PLANT plant_list_corruption(unsigned long n)
{
	LIST_HEAD(head);
	struct list_head entry;

	list_add(&entry, &head);
	head.next = &head;
	list_del(&entry);
}

PLANT plant_refcount_overflow(unsigned long n)
{
	refcount_t count = REFCOUNT_INIT(INT_MAX);

	refcount_inc(&count);
}

static noinline void lock_in_order(struct mutex *outer, struct mutex *inner)
{
	mutex_lock(outer);
	mutex_lock(inner);
	mutex_unlock(inner);
	mutex_unlock(outer);
}

PLANT plant_lockdep_inversion(unsigned long n)
{
	lock_in_order(&first_lock, &second_lock);
	lock_in_order(&second_lock, &first_lock);
}

PLANT plant_lock_held(unsigned long n)
{
	mutex_lock(&first_lock); /* back to user space with it */
}

PLANT plant_rcu_usage(unsigned long n)
{
	static void __rcu *pointer;

	(void)rcu_dereference(pointer); /* outside rcu_read_lock() */
}

PLANT plant_sleep_in_atomic(unsigned long n)
{
	preempt_disable();
	might_sleep();
	if (!IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP))
		schedule_timeout_uninterruptible(1);
	/* The scheduler, having complained, resets the count: one more decrement would break the task. */
	if (preempt_count())
		preempt_enable();
}

PLANT plant_soft_lockup(unsigned long seconds)
{
	unsigned long end = jiffies + seconds * HZ;

	preempt_disable();
	while (time_before(jiffies, end))
		cpu_relax();
	preempt_enable();
}

static struct rcu_head waiter;

static void waited(struct rcu_head *unused)
{
}

/* An idle system has no grace period that could stall: start one. */
PLANT plant_rcu_stall(unsigned long seconds)
{
	unsigned long end = jiffies + seconds * HZ;

	rcu_read_lock();
	call_rcu_hurry(&waiter, waited);
	while (time_before(jiffies, end)) {
		touch_softlockup_watchdog();
		cpu_relax();
	}
	rcu_read_unlock();
	rcu_barrier(); /* the next stall uses the same waiter */
}

static void spin_without_interrupts(void *seconds)
{
	for (unsigned long left = (unsigned long)seconds; left; left--)
		mdelay(1000);
}

/* All CPUs, interrupts off, for N seconds: nothing in the guest answers but the NMI. */
PLANT plant_freeze(unsigned long seconds)
{
	on_each_cpu(spin_without_interrupts, (void *)seconds, 0);
}

/* Uninterruptible for N seconds: even SIGKILL waits. */
PLANT plant_hung_task(unsigned long seconds)
{
	unsigned long left = seconds * HZ;

	while (left) {
		__set_current_state(TASK_UNINTERRUPTIBLE);
		left = schedule_timeout(left);
	}
}

static unsigned long stall_seconds;

static void stall_work(struct work_struct *unused)
{
	plant_soft_lockup(stall_seconds);
}

static void idle_work(struct work_struct *unused)
{
}

static DECLARE_WORK(staller, stall_work);
static DECLARE_WORK(stalled, idle_work);

PLANT plant_workqueue_stall(unsigned long seconds)
{
	stall_seconds = seconds;
	queue_work_on(0, system_highpri_wq, &staller);
	queue_work_on(0, system_highpri_wq, &stalled);
	flush_work(&staller);
	flush_work(&stalled);
}

PLANT plant_panic(unsigned long n)
{
	panic("gmem_plant: a planted panic");
}

/* No usable interrupt table: the exception, the double fault and the third one all fail. */
PLANT plant_triple_fault(unsigned long n)
{
	const struct desc_ptr none = { .size = 0, .address = 0 };

	local_irq_disable();
	load_idt(&none);
	asm volatile("int3");
}

PLANT plant_bad_page(unsigned long n)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return;
	page->mapping = (struct address_space *)0x6d656d67UL;
	__free_page(page); /* checked with CONFIG_DEBUG_VM, or with page poisoning on */
}

/* Seen when the writing process exits. */
PLANT plant_bad_rss(unsigned long n)
{
	if (!current->mm)
		return;
	percpu_counter_add(&current->mm->rss_stat[MM_ANONPAGES], 1);
}

PLANT plant_page_leak(unsigned long count)
{
	while (count--)
		if (!alloc_page(GFP_KERNEL))
			return;
}

PLANT plant_slab_leak(unsigned long count)
{
	while (count--)
		if (!kmalloc(192, GFP_KERNEL))
			return;
}

/* One reference too many to the file behind descriptor N: closing that frees nothing. */
PLANT plant_file_leak(unsigned long fd)
{
	fget(fd);
}

/* One reference too many to the page that is mapped at the address N. */
PLANT plant_page_pin(unsigned long address)
{
	struct page *page;

	get_user_pages_fast(address, 1, 0, &page);
}

PLANT plant_ubsan(unsigned long n)
{
	static volatile int array[4];
	volatile int index = 4;

	array[index] = 1;
}

static unsigned long raced;

static int race_thread(void *seconds)
{
	unsigned long end = jiffies + (unsigned long)seconds * HZ;

	while (time_before(jiffies, end)) {
		raced++;
		cond_resched();
	}
	return 0;
}

PLANT plant_race(unsigned long seconds)
{
	kthread_run(race_thread, (void *)seconds, "gmem_plant_race");
	race_thread((void *)seconds);
}

static const struct plant {
	const char *name;
	void (*run)(unsigned long number);
	unsigned long max; /* of the number; 0: the command takes none */
	bool blind; /* this kernel is built without what would notice */
} plants[] = {
	{ "warn", plant_warn },
	{ "warn_once", plant_warn_once },
	{ "kthread_warn", plant_kthread_warn, 60000 },
	{ "bug", plant_bug },
	{ "null_deref", plant_null_deref },
	{ "gpf", plant_gpf },
	{ "uaf", plant_uaf },
	{ "slab_overflow", plant_slab_overflow },
	{ "list_corruption", plant_list_corruption, .blind = !IS_ENABLED(CONFIG_LIST_HARDENED) },
	{ "refcount_overflow", plant_refcount_overflow },
	{ "lockdep_inversion", plant_lockdep_inversion, .blind = !IS_ENABLED(CONFIG_PROVE_LOCKING) },
	{ "lock_held", plant_lock_held, .blind = !IS_ENABLED(CONFIG_PROVE_LOCKING) },
	{ "rcu_usage", plant_rcu_usage, .blind = !IS_ENABLED(CONFIG_PROVE_RCU) },
	{ "sleep_in_atomic", plant_sleep_in_atomic },
	{ "soft_lockup", plant_soft_lockup, SECONDS_MAX },
	{ "rcu_stall", plant_rcu_stall, SECONDS_MAX },
	{ "freeze", plant_freeze, SECONDS_MAX },
	{ "hung_task", plant_hung_task, SECONDS_MAX },
	{ "workqueue_stall", plant_workqueue_stall, SECONDS_MAX },
	{ "panic", plant_panic },
	{ "triple_fault", plant_triple_fault },
	{ "bad_page", plant_bad_page },
	{ "bad_rss", plant_bad_rss },
	{ "page_leak", plant_page_leak, LEAK_MAX },
	{ "slab_leak", plant_slab_leak, LEAK_MAX },
	{ "file_leak", plant_file_leak, INT_MAX },
	{ "page_pin", plant_page_pin, ULONG_MAX },
	{ "ubsan", plant_ubsan, .blind = !IS_ENABLED(CONFIG_UBSAN_BOUNDS) },
	{ "race", plant_race, SECONDS_MAX, .blind = !IS_ENABLED(CONFIG_KCSAN) },
};

static int run_plant(const char *name, unsigned long number)
{
	for (int i = 0; i < ARRAY_SIZE(plants); i++) {
		if (strcmp(plants[i].name, name))
			continue;
		if (number > plants[i].max || (plants[i].max && !number))
			return -EINVAL;
		if (plants[i].blind)
			return -EOPNOTSUPP;
		plants[i].run(number);
		return 0;
	}
	return -EINVAL;
}

static ssize_t plant_write(struct file *file, const char __user *user, size_t count, loff_t *offset)
{
	char text[64], *rest = text, *name;
	unsigned long number = 0;
	int error;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, user, count))
		return -EFAULT;
	text[count] = '\0';
	rest = strim(text);
	name = strsep(&rest, " ");
	if (rest && kstrtoul(rest, 10, &number))
		return -EINVAL;
	error = run_plant(name, number);
	return error ? error : count;
}

static int plant_show(struct seq_file *list, void *unused)
{
	for (int i = 0; i < ARRAY_SIZE(plants); i++)
		seq_printf(list, "%s%s\n", plants[i].name, plants[i].max ? " N" : "");
	return 0;
}

static int plant_open(struct inode *inode, struct file *file)
{
	return single_open(file, plant_show, NULL);
}

static const struct file_operations plant_fops = {
	.owner = THIS_MODULE,
	.open = plant_open,
	.read = seq_read,
	.write = plant_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int __init plant_init(void)
{
	control = debugfs_create_file("gmem_plant", 0600, NULL, NULL, &plant_fops);
	return PTR_ERR_OR_ZERO(control);
}

static void __exit plant_exit(void)
{
	debugfs_remove(control);
}

module_init(plant_init);
module_exit(plant_exit);
MODULE_DESCRIPTION("Plants kernel trouble on request, for gmem's own tests");
MODULE_LICENSE("GPL");

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest monitor: the program every vCPU runs. The host puts an operation in the vCPU's command page and enters the
 * guest; the monitor performs it, stores the outcome in the same page and says so with an OUT. What a memory access
 * provokes on the way (memory fault, MMIO, hypercall) exits to the host in the middle of the operation, and the next
 * KVM_RUN continues the same instruction. See src/kvm for the host's half.
 *
 * Position independent. Entry at offset 0 in long mode, rdi = gpa of the command page, rsp = top of the stack page that
 * follows the command page. Exception stub of vector v at offset 0x800 + 16 * v. Interrupts stay off.
 *
 * r15 holds the command page throughout.
 */

#define OP 0x00
#define A0 0x08
#define A1 0x10
#define A2 0x18
#define A3 0x20
#define A4 0x28
#define STATUS 0x40
#define R0 0x48
#define R1 0x50
#define R2 0x58
#define R3 0x60
#define VECTOR 0x68
#define ERROR_CODE 0x70
#define FAULT_RIP 0x78
#define FAULT_CR2 0x80
#define STOP 0x88
#define PROGRESS 0x90
#define SAVED_RSP 0x98
#define USE_VMMCALL 0xa0

#define STATUS_OK 0
#define STATUS_EXCEPTION 1
#define STATUS_MISMATCH 2

#define READY_PORT 0x7e0
#define READY_VALUE 0x676d656d
#define UNKNOWN_OP_VECTOR 0xff
#define STUBS_OFFSET 0x800
#define OPS 24

	.section .rodata.gmem_monitor, "a"
	.balign 16
	.globl gmem_monitor_start
	.hidden gmem_monitor_start
	.globl gmem_monitor_end
	.hidden gmem_monitor_end
	.code64

gmem_monitor_start:
	mov	%rdi, %r15
	mov	%rsp, SAVED_RSP(%r15)

complete:
	mov	$READY_PORT, %edx
	mov	$READY_VALUE, %eax
	out	%eax, %dx

	mov	SAVED_RSP(%r15), %rsp
	cld
	mov	OP(%r15), %rax
	cmp	$OPS, %rax
	jae	unknown
	lea	operations(%rip), %rcx
	movslq	(%rcx,%rax,4), %rax
	add	%rcx, %rax
	jmp	*%rax

done_value:
	mov	%rax, R0(%r15)
done:
	movq	$STATUS_OK, STATUS(%r15)
	jmp	complete

unknown:
	movq	$UNKNOWN_OP_VECTOR, VECTOR(%r15)
	movq	$0, ERROR_CODE(%r15)
	movq	$0, FAULT_RIP(%r15)
	movq	$0, FAULT_CR2(%r15)
	movq	$STATUS_EXCEPTION, STATUS(%r15)
	jmp	complete

	.balign 4
operations:
	.long	done - operations
	.long	op_read - operations
	.long	op_write - operations
	.long	op_fill - operations
	.long	op_verify - operations
	.long	op_copy - operations
	.long	op_cmpxchg - operations
	.long	op_xadd - operations
	.long	op_call - operations
	.long	op_hypercall - operations
	.long	op_spin_read - operations
	.long	op_spin_write - operations
	.long	op_in - operations
	.long	op_out - operations
	.long	op_ins - operations
	.long	op_outs - operations
	.long	op_cpuid - operations
	.long	op_rdmsr - operations
	.long	op_wrmsr - operations
	.long	op_flush_tlb - operations
	.long	op_fill_pattern - operations
	.long	op_verify_pattern - operations
	.long	op_wait_change - operations
	.long	op_spin_xadd - operations
	.if (. - operations) != 4 * OPS
	.error "the operation table does not have OPS entries"
	.endif

#include "operations.S"

/*
 * On the stack: vector, error code, rip, cs, rflags, rsp, ss. r15 may be anything after CALL, so the command page is
 * found from the stack page that follows it.
 */
exception:
	mov	%rsp, %r15
	and	$~0xfff, %r15
	sub	$0x1000, %r15
	mov	(%rsp), %rax
	mov	%rax, VECTOR(%r15)
	mov	8(%rsp), %rax
	mov	%rax, ERROR_CODE(%r15)
	mov	16(%rsp), %rax
	mov	%rax, FAULT_RIP(%r15)
	mov	%cr2, %rax
	mov	%rax, FAULT_CR2(%r15)
	movq	$STATUS_EXCEPTION, STATUS(%r15)
	mov	SAVED_RSP(%r15), %rsp
	jmp	complete

	.skip	STUBS_OFFSET - (. - gmem_monitor_start), 0xcc
	.set	vector, 0
	.rept	32
	.balign	16, 0xcc
	/* The CPU pushes an error code itself for #DF #TS #NP #SS #GP #PF #AC #CP #VC #SX. */
	.if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && vector != 14 && vector != 17 && vector != 21 && vector != 29 && vector != 30
	pushq	$0
	.endif
	pushq	$vector
	jmp	exception
	.set	vector, vector + 1
	.endr
	.balign	16, 0xcc
gmem_monitor_end:

	.section .note.GNU-stack, "", @progbits

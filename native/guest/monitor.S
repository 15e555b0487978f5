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

/* READ a0 gpa, a1 width -> r0 */
op_read:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rcx
	cmp	$8, %rcx
	je	1f
	cmp	$4, %rcx
	je	2f
	cmp	$2, %rcx
	je	3f
	cmp	$1, %rcx
	jne	unknown
	movzbl	(%rdi), %eax
	jmp	done_value
1:	mov	(%rdi), %rax
	jmp	done_value
2:	mov	(%rdi), %eax
	jmp	done_value
3:	movzwl	(%rdi), %eax
	jmp	done_value

/* WRITE a0 gpa, a1 width, a2 value */
op_write:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rcx
	mov	A2(%r15), %rax
	cmp	$8, %rcx
	je	1f
	cmp	$4, %rcx
	je	2f
	cmp	$2, %rcx
	je	3f
	cmp	$1, %rcx
	jne	unknown
	movb	%al, (%rdi)
	jmp	done
1:	movq	%rax, (%rdi)
	jmp	done
2:	movl	%eax, (%rdi)
	jmp	done
3:	movw	%ax, (%rdi)
	jmp	done

/* FILL a0 gpa, a1 len, a2 byte */
op_fill:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rcx
	mov	A2(%r15), %rax
	rep stosb
	jmp	done

/* VERIFY a0 gpa, a1 len, a2 byte -> r0 gpa of the first mismatch, r1 the byte that was loaded there */
op_verify:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rcx
	movzbl	A2(%r15), %eax
	mov	$0x0101010101010101, %rdx
	imul	%rdx, %rax
1:	cmp	$8, %rcx
	jb	2f
	mov	(%rdi), %rdx
	cmp	%rax, %rdx
	jne	4f
	add	$8, %rdi
	sub	$8, %rcx
	jmp	1b
2:	test	%rcx, %rcx
	jz	done
	movzbl	(%rdi), %edx
	cmp	%al, %dl
	jne	3f
	inc	%rdi
	dec	%rcx
	jmp	2b
3:	mov	%rdi, R0(%r15)
	mov	%rdx, R1(%r15)
	jmp	mismatch
4:	xor	%rdx, %rax
	bsf	%rax, %rcx
	and	$~7, %ecx
	shr	%cl, %rdx
	movzbl	%dl, %edx
	shr	$3, %ecx
	add	%rcx, %rdi
	jmp	3b

mismatch:
	movq	$STATUS_MISMATCH, STATUS(%r15)
	jmp	complete

/* COPY a0 dst, a1 src, a2 len */
op_copy:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rsi
	mov	A2(%r15), %rcx
	rep movsb
	jmp	done

/* CMPXCHG a0 gpa, a1 expected, a2 new -> r0 old, r1 1 if swapped */
op_cmpxchg:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rax
	mov	A2(%r15), %rdx
	lock cmpxchg %rdx, (%rdi)
	sete	%cl
	movzbl	%cl, %ecx
	mov	%rcx, R1(%r15)
	jmp	done_value

/* XADD a0 gpa, a1 addend -> r0 old */
op_xadd:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rax
	lock xadd %rax, (%rdi)
	jmp	done_value

/* CALL a0 address -> r0 rax. The callee keeps rsp; every other register is its own. */
op_call:
	mov	A0(%r15), %rax
	push	%r15
	call	*%rax
	pop	%r15
	jmp	done_value

/* HYPERCALL a0 nr, a1..a4 -> r0 */
op_hypercall:
	mov	A0(%r15), %rax
	mov	A1(%r15), %rbx
	mov	A2(%r15), %rcx
	mov	A3(%r15), %rdx
	mov	A4(%r15), %rsi
	cmpq	$0, USE_VMMCALL(%r15)
	jne	1f
	vmcall
	jmp	done_value
1:	vmmcall
	jmp	done_value

/* SPIN_READ a0 gpa, a1 stride, a2 count -> r0 the last value read */
op_spin_read:
	xor	%eax, %eax
1:	mov	A0(%r15), %rdi
	mov	A2(%r15), %rcx
2:	test	%rcx, %rcx
	jz	3f
	mov	(%rdi), %rax
	add	A1(%r15), %rdi
	dec	%rcx
	jmp	2b
3:	incq	PROGRESS(%r15)
	cmpq	$0, STOP(%r15)
	je	1b
	jmp	done_value

/* SPIN_WRITE a0 gpa, a1 stride, a2 count: stores the pass number -> r0 the last one */
op_spin_write:
	xor	%eax, %eax
1:	mov	A0(%r15), %rdi
	mov	A2(%r15), %rcx
	inc	%rax
2:	test	%rcx, %rcx
	jz	3f
	mov	%rax, (%rdi)
	add	A1(%r15), %rdi
	dec	%rcx
	jmp	2b
3:	incq	PROGRESS(%r15)
	cmpq	$0, STOP(%r15)
	je	1b
	jmp	done_value

/* IN a0 port, a1 width -> r0 */
op_in:
	mov	A0(%r15), %rdx
	mov	A1(%r15), %rcx
	xor	%eax, %eax
	cmp	$4, %rcx
	je	1f
	cmp	$2, %rcx
	je	2f
	cmp	$1, %rcx
	jne	unknown
	in	%dx, %al
	jmp	done_value
1:	in	%dx, %eax
	jmp	done_value
2:	in	%dx, %ax
	jmp	done_value

/* OUT a0 port, a1 width, a2 value */
op_out:
	mov	A0(%r15), %rdx
	mov	A1(%r15), %rcx
	mov	A2(%r15), %rax
	cmp	$4, %rcx
	je	1f
	cmp	$2, %rcx
	je	2f
	cmp	$1, %rcx
	jne	unknown
	out	%al, %dx
	jmp	done
1:	out	%eax, %dx
	jmp	done
2:	out	%ax, %dx
	jmp	done

/* INS a0 port, a1 destination gpa, a2 bytes */
op_ins:
	mov	A0(%r15), %rdx
	mov	A1(%r15), %rdi
	mov	A2(%r15), %rcx
	rep insb
	jmp	done

/* OUTS a0 port, a1 source gpa, a2 bytes */
op_outs:
	mov	A0(%r15), %rdx
	mov	A1(%r15), %rsi
	mov	A2(%r15), %rcx
	rep outsb
	jmp	done

/* CPUID a0 leaf, a1 subleaf -> r0..r3 eax, ebx, ecx, edx */
op_cpuid:
	mov	A0(%r15), %rax
	mov	A1(%r15), %rcx
	cpuid
	mov	%rbx, R1(%r15)
	mov	%rcx, R2(%r15)
	mov	%rdx, R3(%r15)
	jmp	done_value

/* RDMSR a0 -> r0 */
op_rdmsr:
	mov	A0(%r15), %rcx
	rdmsr
	shl	$32, %rdx
	mov	%eax, %eax
	or	%rdx, %rax
	jmp	done_value

/* WRMSR a0, a1 value */
op_wrmsr:
	mov	A0(%r15), %rcx
	mov	A1(%r15), %rax
	mov	%rax, %rdx
	shr	$32, %rdx
	wrmsr
	jmp	done

/* FLUSH_TLB */
op_flush_tlb:
	mov	%cr3, %rax
	mov	%rax, %cr3
	jmp	done

/* FILL_PATTERN a0 gpa, a1 len, a2 seed: each qword = its gpa ^ seed */
op_fill_pattern:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rcx
	shr	$3, %rcx
1:	test	%rcx, %rcx
	jz	done
	mov	%rdi, %rax
	xor	A2(%r15), %rax
	mov	%rax, (%rdi)
	add	$8, %rdi
	dec	%rcx
	jmp	1b

/* VERIFY_PATTERN a0 gpa, a1 len, a2 seed -> r0 gpa of the first wrong qword, r1 the qword that was loaded there */
op_verify_pattern:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rcx
	shr	$3, %rcx
1:	test	%rcx, %rcx
	jz	done
	mov	%rdi, %rax
	xor	A2(%r15), %rax
	mov	(%rdi), %rdx
	cmp	%rax, %rdx
	jne	2f
	add	$8, %rdi
	dec	%rcx
	jmp	1b
2:	mov	%rdi, R0(%r15)
	mov	%rdx, R1(%r15)
	jmp	mismatch

/* WAIT_CHANGE a0 gpa, a1 value: until the qword differs or the host says stop -> r0 what was read last */
op_wait_change:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rcx
1:	mov	(%rdi), %rax
	cmp	%rcx, %rax
	jne	done_value
	incq	PROGRESS(%r15)
	cmpq	$0, STOP(%r15)
	jne	done_value
	pause
	jmp	1b

/* SPIN_XADD a0 gpa, a1 iterations -> r0 iterations done */
op_spin_xadd:
	mov	A0(%r15), %rdi
	mov	A1(%r15), %rcx
	xor	%eax, %eax
1:	cmp	%rcx, %rax
	jae	done_value
	mov	$1, %edx
	lock xadd %rdx, (%rdi)
	inc	%rax
	incq	PROGRESS(%r15)
	cmpq	$0, STOP(%r15)
	je	1b
	jmp	done_value

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

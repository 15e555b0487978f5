/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the monitor can do, one label an operation; included by monitor.S, which has the offsets and where to go after it:
 * done, done_value (rax is the result), mismatch, unknown. r15 is the command page; all other registers are free.
 * Every operation may be left at any memory access and continued there.
 */

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

// SPDX-License-Identifier: Apache-2.0

/** One entry of a stack trace: `func+0x12/0x34 [module]`. */
export interface Frame {
  readonly function: string
  readonly offset: number
  /** Of the function, in bytes; tells functions of the same name apart. */
  readonly size: number
  readonly module: string | null
  /** False for `? func`: found on the stack, not proved to be a caller. */
  readonly reliable: boolean
}

/** One `Call Trace:`. */
export interface Trace {
  /** The kernel RIP printed with the registers before it. */
  readonly rip: Frame | null
  readonly frames: readonly Frame[]
  /** Index in `frames` at which the interrupted kernel context starts (an embedded RIP); -1 for none. */
  readonly interruptedAt: number
}

const FRAME =
  /^\s*(\? )?(?:\[<[0-9a-fx]+>\] )?([A-Za-z_][\w.$]*)\+0x([0-9a-f]+)\/0x([0-9a-f]+)(?: \[([\w-]+)[^\]]*\])?$/
const KERNEL_RIP = /^(?:RIP: 0010:|pc : )(\S+.*)$/

/** The frame on a line of a trace, or null. */
export function parseFrame(line: string): Frame | null {
  const match = FRAME.exec(line)
  if (match === null) return null
  const [, unreliable, name = '', offset = '', size = '', module] = match
  return {
    function: name,
    offset: Number.parseInt(offset, 16),
    size: Number.parseInt(size, 16),
    module: module ?? null,
    reliable: unreliable === undefined,
  }
}

/** The frame that a register dump names as the kernel's instruction pointer, or null. */
export function parseRip(line: string): Frame | null {
  const match = KERNEL_RIP.exec(line)
  return match?.[1] === undefined ? null : parseFrame(match[1])
}

/**
 * The traces of a report. Frames outside a `Call Trace:` (where an object was allocated, how a lock came to
 * be held) are not in them: they differ for the same bug.
 */
export function parseTraces(lines: readonly string[]): Trace[] {
  const traces: { rip: Frame | null; frames: Frame[]; interruptedAt: number }[] = []
  let pendingRip: Frame | null = null
  let inside = false
  for (const line of lines) {
    const open = traces.at(-1)
    if (/^(?:Call Trace|Call trace):/.test(line)) {
      traces.push({ rip: pendingRip, frames: [], interruptedAt: -1 })
      pendingRip = null
      inside = true
    } else if (inside && open !== undefined) {
      const rip = parseRip(line)
      const frame = parseFrame(line)
      if (rip !== null) {
        if (open.interruptedAt < 0) open.interruptedAt = open.frames.length
        open.frames.push(rip)
      } else if (frame !== null) open.frames.push(frame)
      else if (!isTraceLine(line)) inside = false
    } else pendingRip = parseRip(line) ?? pendingRip
  }
  return traces
}

const TRACE_LINE = new RegExp(
  `^\\s*(?:${[
    '<\\/?(?:TASK|IRQ|NMI|SOFTIRQ|#\\w+|ENTRY_TRAMPOLINE|[A-Z]+\\d*)>',
    '(?:RIP|Code|RSP|R[A-Z0-9]{2}|FS|CS|CR2|DR\\d|PKRU): |EFLAGS|ORIG_RAX',
  ].join('|')})`,
)

/** Whether a line may stand in a `Call Trace:`: a frame, a stack's name, registers. */
export function isTraceLine(line: string): boolean {
  return TRACE_LINE.test(line) || FRAME.test(line)
}

/** Reports, dumps, entry code and the primitives that check: on the stack of every bug that they find. */
const MACHINERY = new RegExp(
  `^(?:${[
    // Reports and dumps.
    '(?:__)?dump_stack\\w*|show_\\w+|print_\\w+|__warn\\w*|warn_\\w+|(?:__)?report_bug\\w*|handle_bug',
    'v?panic',
    '__die\\w*|die\\w*|oops_\\w+|check_panic_on_warn|page_fault_oops|kernelmode_fixup_or_oops',
    'fixup_exception',
    'object_err|slab_\\w+|bad_page|dump_header|oom_kill_process|out_of_memory|sched_show_task|usercopy_abort',
    // Entry code.
    'exc_\\w+|asm_\\w+|sysvec_\\w+|entry_\\w+|do_syscall_\\w+|ret_from_fork\\w*|x64_sys_call',
    'syscall_\\w+|kthread',
    // Checkers.
    '(?:__)?kasan_\\w+|__asan_\\w+|check_memory_region\\w*|(?:__)?kfence_\\w+|(?:__)?kcsan_\\w+|__tsan_\\w+',
    '(?:__)?kmsan_\\w+|__msan_\\w+|__ubsan_\\w+|ubsan_\\w+|refcount_warn_saturate|__list_\\w+_or_report',
    'check_bytes_and_report|check_object|free_to_partial_list|debug_(?:print_)?object\\w*|__check_\\w+_size',
    'check_prev_\\w+|check_noncircular|check_irq_usage|validate_chain|mark_lock\\w*|__lock_\\w+|lockdep_\\w+',
    'lock_(?:acquire|release)|spin_(?:dump|bug)|__might_\\w+|__cant_\\w+|check_preemption_disabled',
    'debug_smp_\\w+',
    // Waiting and allocating, which somebody else asked for.
    '__schedule\\w*|schedule\\w*|preempt_schedule\\w*|io_schedule\\w*|wait_for_completion\\w*',
    '__wait_for_common',
    'msleep\\w*|(?:__)?mutex_lock\\w*|rwsem_down_\\w+|(?:__)?down_(?:read|write)\\w*',
    'kv?free\\w*|kmem_cache_(?:alloc|free)\\w*|(?:__)?kmalloc\\w*',
    // Watchdogs, timers, idling.
    'watchdog_\\w+|wq_watchdog_\\w+|nmi_\\w+|arch_trigger_\\w+|trigger_\\w+|rcu_dump_\\w+|rcu_check_\\w+',
    'rcu_sched_clock_irq|(?:__)?hrtimer_\\w+|update_process_times|tick_\\w+|call_timer_fn|__run_timers',
    'run_timer_\\w+|handle_softirqs|__do_softirq|irq_exit\\w*|lapic_next_event|clockevents_\\w+',
    'stop_machine_yield|(?:default|native|pv)_\\w*(?:idle|halt)\\w*',
  ].join('|')})$`,
)

/** `func` of `func.isra.0.cold`. */
export function baseName(name: string): string {
  return name.replace(/\.(?:isra|constprop|part|cold|llvm|lto_priv)\b.*$/, '')
}

/** How many functions make a fingerprint. */
const FINGERPRINT_FUNCTIONS = 5

/**
 * The functions that tell where it happened, innermost first: at most five, nothing of the reporting
 * machinery. `interrupted`: the context that an interrupt found, for lockups and stalls, instead of the
 * interrupt's own.
 */
export function meaningfulFunctions(traces: readonly Trace[], interrupted: boolean): string[] {
  const choices = traces.flatMap((trace) => {
    const own = trace.interruptedAt < 0 ? trace.frames : trace.frames.slice(0, trace.interruptedAt)
    const below = trace.interruptedAt < 0 ? [] : trace.frames.slice(trace.interruptedAt)
    const all = [...(trace.rip === null ? [] : [trace.rip]), ...own]
    return interrupted ? [below, all] : [all, below]
  })
  const withRip = interrupted ? choices.filter((frames) => startsAtRip(frames, traces)) : []
  for (const frames of [...withRip, ...choices]) {
    const names = namesOf(frames.filter((frame) => frame.reliable))
    if (names.length > 0) return names
  }
  // A running task of another CPU has only guesses on its stack; what an interrupt left above its entry is
  // not even that.
  for (const frames of choices) {
    const entry = frames.findLastIndex((frame) => frame.function.startsWith('asm_'))
    const names = namesOf(frames.slice(entry + 1))
    if (names.length > 0) return names
  }
  return []
}

function startsAtRip(frames: readonly Frame[], traces: readonly Trace[]): boolean {
  return traces.some(
    (trace) =>
      frames[0] !== undefined && (frames[0] === trace.rip || frames[0] === trace.frames[trace.interruptedAt]),
  )
}

function namesOf(frames: readonly Frame[]): string[] {
  const names = frames.map((frame) => baseName(frame.function)).filter((name) => !MACHINERY.test(name))
  return names.filter((name, index) => name !== names[index - 1]).slice(0, FINGERPRINT_FUNCTIONS)
}

// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'

const SYSCTLS = [
  ...['vm/nr_hugepages', 'vm/nr_overcommit_hugepages', 'vm/overcommit_memory', 'vm/overcommit_ratio'],
  ...['vm/max_map_count', 'vm/memory_failure_recovery', 'vm/memory_failure_early_kill', 'vm/swappiness'],
  ...[
    'vm/unprivileged_userfaultfd',
    'vm/compact_unevictable_allowed',
    'vm/min_free_kbytes',
    'vm/panic_on_oom',
  ],
  ...['fs/file-max', 'fs/nr_open', 'fs/pipe-max-size', 'fs/aio-max-nr', 'fs/protected_hardlinks'],
  ...['kernel/core_pattern', 'kernel/io_uring_disabled', 'kernel/panic_on_oops', 'kernel/panic_on_warn'],
  ...['kernel/printk', 'kernel/sysrq', 'kernel/randomize_va_space', 'kernel/threads-max', 'kernel/pid_max'],
].map((name) => `/proc/sys/${name}`)

const FAULT_KNOBS = ['failslab', 'fail_page_alloc', 'fail_usercopy', 'fail_futex', 'fail_function'].flatMap(
  (kind) => ['probability', 'times', 'task-filter'].map((knob) => `/sys/kernel/debug/${kind}/${knob}`),
)

const FILES = [
  ...SYSCTLS,
  ...FAULT_KNOBS,
  ...['enabled', 'defrag', 'shmem_enabled'].map((name) => `/sys/kernel/mm/transparent_hugepage/${name}`),
  '/sys/fs/cgroup/cgroup.subtree_control',
  '/proc/self/cgroup',
  '/proc/self/limits',
  '/proc/self/oom_score_adj',
  '/proc/self/coredump_filter',
  '/proc/self/mounts',
]

/** Of files that hold more than settings, the lines that do not change by themselves. */
const LINES: Readonly<Record<string, RegExp>> = {
  '/proc/meminfo': /^(?:HardwareCorrupted|HugePages_Total|HugePages_Surp):.*$/gm,
  '/proc/self/status': /^(?:Uid|Gid|Umask|SigBlk|CapEff|Cpus_allowed|Mems_allowed|NoNewPrivs|Seccomp):.*$/gm,
  // Name and size: what follows is how many use it. Modules of our own do nothing unless asked.
  '/proc/modules': /^(?!gmem_)\S+ \d+/gm,
}

const KVM_MODULES = ['kvm', 'kvm_amd', 'kvm_intel']

let before: ReadonlyMap<string, string> = new Map()

/** Notes what a test might set and forget; done before the VM is saved, else before its first file. */
export function rememberSettings(): void {
  if (before.size === 0) before = readSettings()
}

/** Files whose content is not what it was, for people: `/proc/sys/vm/nr_hugepages`. */
export function changedSettings(): string[] {
  const now = readSettings()
  return [...new Set([...before.keys(), ...now.keys()])].filter((file) => before.get(file) !== now.get(file))
}

/** A file that is not there, or not for reading, is as good as an empty one. */
function readSettings(): Map<string, string> {
  const whole = [...FILES, ...KVM_MODULES.flatMap(parametersOf)].map((file) => [file, read(file)] as const)
  const parts = Object.entries(LINES).map(
    ([file, lines]) => [file, (read(file).match(lines) ?? []).join('\n')] as const,
  )
  return new Map([...whole, ...parts])
}

function parametersOf(module: string): string[] {
  const folder = `/sys/module/${module}/parameters`
  try {
    return readdirSync(folder).map((name) => `${folder}/${name}`)
  } catch {
    return []
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}

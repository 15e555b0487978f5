// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs'
import { binding } from '../../kvm/index.js'

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

/** These hold more than settings: only the lines that do not change by themselves count. */
const MIXED_FILES = ['/proc/meminfo', '/proc/self/status']
const SETTING_LINES =
  /^(?:HardwareCorrupted|HugePages_Total|Uid|Gid|Umask|SigBlk|CapEff|Cpus_allowed|Mems_allowed|NoNewPrivs|Seccomp):.*$/gm

const KVM_MODULES = ['kvm', 'kvm_amd', 'kvm_intel']

let files = ''
let before = ''

/** Notes what a test might set and forget; done before the VM is saved, else before its first file. */
export function rememberSettings(): void {
  if (files !== '') return
  files = [...FILES, ...KVM_MODULES.flatMap(parametersOf)].join('\n')
  before = readSettings()
}

/** Whether something is not as it was. Modules that come and go tell that themselves (src/testing/module.ts). */
export function areSettingsChanged(): boolean {
  return readSettings() !== before
}

function readSettings(): string {
  const { addon } = binding
  const mixed = Buffer.from(addon.readFiles(MIXED_FILES.join('\n'))).toString('latin1')
  return [Buffer.from(addon.readFiles(files)).toString('latin1'), ...(mixed.match(SETTING_LINES) ?? [])].join(
    '\n',
  )
}

function parametersOf(module: string): string[] {
  const folder = `/sys/module/${module}/parameters`
  try {
    return readdirSync(folder).map((name) => `${folder}/${name}`)
  } catch {
    return []
  }
}

// SPDX-License-Identifier: Apache-2.0
import type { Bytes } from '../units.js'
import type { Accelerator } from './accelerator.js'

/**
 * The virtio-serial ports of the conversation with the worker, one for each direction: a write to a QEMU that has just died fails, and on
 * a common socket that would throw away what the guest had said before.
 */
export const FROM_GUEST_PORT_NAME = 'gmem.from-guest'
export const TO_GUEST_PORT_NAME = 'gmem.to-guest'
/** The port on which PID 1 takes sysrq keys; it listens whatever the worker is stuck in. */
export const SYSRQ_PORT_NAME = 'gmem.sysrq'

/** Inherited descriptors of the QEMU process. */
export const QMP_FD = 3
export const FROM_GUEST_FD = 4
export const TO_GUEST_FD = 5
export const SYSRQ_FD = 6

/**
 * Where a VM's RAM lives. `share: true` writes it to the file (the one that is being saved); false copies on
 * write.
 */
export interface RamFile {
  readonly path: string
  readonly share: boolean
}

/** Everything that decides QEMU's command line. */
export interface MachineArguments {
  readonly bzImage: string
  readonly initrd: string
  readonly append: string
  readonly accelerator: Accelerator
  readonly memory: Bytes
  readonly cpus: number
  readonly consoleFile: string
  /** Absent: anonymous memory. */
  readonly ramFile?: RamFile
  /** Wait for `migrate-incoming` instead of booting. */
  readonly incoming?: boolean
  /** Firmware in place of QEMU's SeaBIOS. */
  readonly firmware?: string
  readonly extraArgs?: readonly string[]
  /** A PCI card with memory behind its BAR 2 (ivshmem-plain): memory that the guest's kernel has no struct page for. */
  readonly memoryCard?: boolean
}

/**
 * QEMU's arguments. Two machines whose calls differ in `initrd`, `consoleFile`, `ramFile` and `incoming`
 * alone have the same hardware, so that the one can go on where the other was saved.
 */
export function qemuArguments(machine: MachineArguments): string[] {
  const ramBackend =
    machine.ramFile === undefined
      ? `memory-backend-ram,id=ram,size=${machine.memory}`
      : `memory-backend-file,id=ram,size=${machine.memory},mem-path=${escapeOption(machine.ramFile.path)},share=${machine.ramFile.share ? 'on' : 'off'}`
  return [
    '-nodefaults',
    '-no-user-config',
    '-no-reboot',
    ...['-display', 'none'],
    ...['-machine', `q35,memory-backend=ram,${machine.accelerator.machineOptions}`],
    ...['-accel', machine.accelerator.accel],
    ...['-cpu', machine.accelerator.cpu],
    ...['-smp', String(machine.cpus)],
    ...['-m', `${machine.memory}B`],
    ...['-object', ramBackend],
    ...['-chardev', `socket,id=qmp,fd=${QMP_FD}`],
    ...['-mon', 'chardev=qmp,mode=control'],
    ...['-chardev', `file,id=console,path=${escapeOption(machine.consoleFile)},append=on`],
    ...['-serial', 'chardev:console'],
    ...['-device', 'virtio-serial-pci,max_ports=4'],
    ...['-chardev', `socket,id=from-guest,fd=${FROM_GUEST_FD}`],
    ...['-device', `virtserialport,chardev=from-guest,name=${FROM_GUEST_PORT_NAME}`],
    ...['-chardev', `socket,id=to-guest,fd=${TO_GUEST_FD}`],
    ...['-device', `virtserialport,chardev=to-guest,name=${TO_GUEST_PORT_NAME}`],
    ...['-chardev', `socket,id=sysrq,fd=${SYSRQ_FD}`],
    ...['-device', `virtserialport,chardev=sysrq,name=${SYSRQ_PORT_NAME}`],
    ...['-device', 'virtio-rng-pci'],
    ...(machine.memoryCard ? memoryCard() : []),
    ...(machine.extraArgs ?? []),
    ...(machine.firmware === undefined ? [] : ['-bios', machine.firmware]),
    ...['-kernel', machine.bzImage],
    ...['-initrd', machine.initrd],
    ...['-append', machine.append],
    ...(machine.incoming ? ['-incoming', 'defer'] : []),
  ]
}

/** The master's memory is saved with the VM. 4 MiB: two huge pages. */
function memoryCard(): string[] {
  return [
    ...['-object', 'memory-backend-ram,id=card,size=4M'],
    ...['-device', 'ivshmem-plain,memdev=card,master=on'],
  ]
}

/**
 * The kernel's command line. The console shows warnings and worse (a WARNING's and an oops' every line is at
 * that level), everything else stays in the log buffer. The rest shortens the boot under emulation or makes
 * addresses in a splat those of vmlinux.
 */
export function kernelCommandLine(...extra: readonly string[]): string {
  const parts = [
    'console=ttyS0',
    'loglevel=5',
    'printk.devkmsg=on',
    // Reboot at once on a panic: with -no-reboot QEMU then exits, and the host knows.
    'panic=-1',
    // An oops kills the thread that it hits, and leaves a worker that neither works nor ends: no ground for anything.
    'oops=panic',
    // The last resort for a guest that hangs: QEMU sends the NMI.
    'unknown_nmi_panic',
    'nokaslr',
    'mitigations=off',
    'random.trust_cpu=on',
    'no_timer_check',
    'tsc=reliable',
    '8250.nr_uarts=1',
    'rcupdate.rcu_expedited=1',
    'cryptomgr.notests',
    'rdinit=/init',
  ]
  return [...parts, ...extra].filter((part) => part !== '').join(' ')
}

/** In QEMU's option syntax a comma inside a value is doubled. */
export function escapeOption(value: string): string {
  return value.replaceAll(',', ',,')
}

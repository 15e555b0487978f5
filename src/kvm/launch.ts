// SPDX-License-Identifier: Apache-2.0
import {
  KVM_MEMORY_ENCRYPT_OP,
  kvm_sev_cmd,
  kvm_tdx_cmd,
  SEV_COMMAND,
  type SevCommand,
  TDX_COMMAND,
  type TdxCommand,
} from '../abi/index.js'
import { binding, refusalOf } from '../binding/index.js'
import { bytes, PAGE_SIZE } from '../units.js'
import { Mapping } from './mapping.js'

/** What came of a launch command: the errno's name, '' where it worked, and what the firmware said, 0 where it was not asked. */
export interface LaunchResult {
  readonly code: string
  readonly firmwareError: bigint
  /** The command's own struct as the kernel left it: LAUNCH_UPDATE and INIT_MEM_REGION count there how far they came. */
  readonly data: Uint8Array
}

/** The fd of a VM or of a vCPU. */
interface Target {
  readonly fd: number
}

/**
 * KVM_MEMORY_ENCRYPT_OP with a command of SEV and the command's struct. ENOTTY where KVM has no SEV, EINVAL on a VM of another type
 * (arch/x86/kvm/svm/sev.c, sev_mem_enc_ioctl). `sevFd` is an open /dev/sev, which the firmware is reached through.
 */
export function sevCommand(target: Target, command: SevCommand, data: Uint8Array, sevFd = 0): LaunchResult {
  return issue(target, data, (address) => {
    const argument = kvm_sev_cmd.encode({ id: SEV_COMMAND[command], data: address, sev_fd: sevFd })
    return { argument, firmwareError: () => BigInt(kvm_sev_cmd.decode(argument).error) }
  })
}

/**
 * KVM_MEMORY_ENCRYPT_OP with a command of TDX and the command's struct. ENOTTY where KVM has no TDX and on every VM of another type
 * (arch/x86/kvm/vmx/main.c, vt_mem_enc_ioctl).
 */
export function tdxCommand(target: Target, command: TdxCommand, data: Uint8Array, flags = 0): LaunchResult {
  return issue(target, data, (address) => {
    const argument = kvm_tdx_cmd.encode({ id: TDX_COMMAND[command], flags, data: address })
    return { argument, firmwareError: () => kvm_tdx_cmd.decode(argument).hw_error }
  })
}

function issue(
  { fd }: Target,
  data: Uint8Array,
  make: (address: bigint) => { readonly argument: Uint8Array; readonly firmwareError: () => bigint },
): LaunchResult {
  const size = bytes((BigInt(data.length) / PAGE_SIZE + 1n) * PAGE_SIZE)
  const memory = Mapping.anonymous(size)
  try {
    memory.write(bytes(0), data)
    const { argument, firmwareError } = make(memory.hva)
    const code = refusalOf(() => binding.addon.ioctl(fd, KVM_MEMORY_ENCRYPT_OP, argument))?.code ?? ''
    return { code, firmwareError: firmwareError(), data: memory.read(bytes(0), data.length) }
  } finally {
    memory.close()
  }
}

// SPDX-License-Identifier: Apache-2.0
import { KVM_X86_QUIRK_FIX_HYPERCALL_INSN } from '../abi/index.js'
import { formatReason, Kvm } from '../kvm/index.js'
import { type Need, need, type Unmet } from './needs.js'

const UNASSIGNED_HYPERCALL = 0x7fff_ffffn
const PROBE_DEADLINE_MS = 2_000

let cached: Promise<Unmet> | null = null

/**
 * A guest's vmcall or vmmcall reaches KVM. Found by making one, once per process: a KVM that runs guests in software may not
 * know either. Needed by `vcpu.hypercall` and `vcpu.mapGpaRange`.
 */
export const hypercalls: Need = need('hypercalls', () => {
  cached ??= probe()
  return cached
})

async function probe(): Promise<Unmet> {
  using kvm = Kvm.open()
  using vm = kvm.createVm()
  // Otherwise KVM rewrites an instruction that it takes for the wrong one, again and again where it knows neither.
  if (vm.has('DISABLE_QUIRKS2')) vm.enableCapability('DISABLE_QUIRKS2', [KVM_X86_QUIRK_FIX_HYPERCALL_INSN])
  using vcpu = vm.createVcpu()
  const outcome = await vcpu.attempt.hypercall(UNASSIGNED_HYPERCALL, [], { deadlineMs: PROBE_DEADLINE_MS })
  return outcome.reason === 'DONE' ? null : `a hypercall in a DEFAULT VM ends in ${formatReason(outcome)}`
}

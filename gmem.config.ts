// SPDX-License-Identifier: Apache-2.0
import { defineMatrix } from 'gmem/config'

/** What `gmem matrix` runs here; src/config.ts says what each field means. */
export default defineMatrix({
  kernels: ['7.3', '7.3+inplace-conversion', '7.3+inplace-conversion+no-direct-map+write'],
  flavours: ['plain', 'debug'],
  // The MMU that is not the TDP MMU, with nested paging and without.
  parameters: ['', 'kvm.tdp_mmu=0', 'kvm_amd.npt=0'],
  exclude: [
    { kernel: '7.3+inplace-conversion', flavour: 'debug' },
    { kernel: '7.3+inplace-conversion+no-direct-map+write', flavour: 'debug' },
    { flavour: 'debug', parameters: 'kvm.tdp_mmu=0' },
    { flavour: 'debug', parameters: 'kvm_amd.npt=0' },
  ],
})

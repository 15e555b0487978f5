// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import { moduleParameters } from '../../src/testing/module-parameters.js'

describe('the parameters of a module on a kernel command line', () => {
  const line = 'console=ttyS0 kvm.tdp_mmu=0 kvm-amd.npt=0 kvm_amd.avic=1 foo.path="a b" quiet\n'

  it('are those of that module, in their order, dashes being underscores', () => {
    expect(moduleParameters(line, 'kvm_amd')).toBe('npt=0 avic=1')
    expect(moduleParameters(line, 'kvm')).toBe('tdp_mmu=0')
  })

  it('keep what is in quotes together', () => {
    expect(moduleParameters(line, 'foo')).toBe('path="a b"')
  })

  it('are none where the line names another module, or none', () => {
    expect(moduleParameters(line, 'kvm_intel')).toBe('')
    expect(moduleParameters('', 'kvm')).toBe('')
  })
})

// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isOnlyOfModules } from '../../src/kernels/make-modules.js'

let src: string

beforeEach(() => {
  src = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-modules-`))
  for (const folder of ['virt/kvm', 'arch/x86/kvm/mmu', 'mm'])
    mkdirSync(join(src, folder), { recursive: true })
  compiled('virt/kvm/.guest_memfd.o.cmd', '-DMODULE')
  compiled('arch/x86/kvm/mmu/.mmu.o.cmd', '-DMODULE')
  compiled('arch/x86/kvm/.builtin.o.cmd', '')
  compiled('mm/.module.o.cmd', '-DMODULE')
})

afterEach(() => rmSync(src, { recursive: true, force: true }))

/** As Kbuild leaves it. */
function compiled(file: string, flag: string): void {
  writeFileSync(
    join(src, file),
    `savedcmd_x.o := gcc -D__KERNEL__ ${flag} -c -o x.o x.c\n\nsource_x.o := x.c -DMODULE \n`,
  )
}

describe('the modules alone are made where', () => {
  test.each([[['virt/kvm/guest_memfd.c']], [['virt/kvm/guest_memfd.c', 'arch/x86/kvm/mmu/mmu.c']]])(
    '%j changed',
    (changed) => {
      expect(isOnlyOfModules(src, changed)).toBe(true)
    },
  )

  test.each([
    ['a C file of KVM that is built in', ['arch/x86/kvm/builtin.c']],
    ['a C file that is not compiled by itself', ['virt/kvm/new.c']],
    ['a header', ['virt/kvm/guest_memfd.h']],
    ['a Makefile', ['virt/kvm/Makefile.kvm']],
    ['a module elsewhere, which the boot code may include', ['mm/module.c']],
    ['nothing', []],
    ['one of several', ['virt/kvm/guest_memfd.c', 'include/linux/kvm_host.h']],
  ])('not where it is %s', (_what, changed) => {
    expect(isOnlyOfModules(src, changed)).toBe(false)
  })
})

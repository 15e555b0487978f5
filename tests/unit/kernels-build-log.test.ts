// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { firstErrorsOf, objectOf, ranOutOfSpace } from '../../src/kernels/build-log.js'

const failed = `  CC      mm/memory.o
  CC      virt/kvm/guest_memfd.o
  AR      mm/built-in.a
virt/kvm/guest_memfd.c: In function 'kvm_gmem_allocate':
virt/kvm/guest_memfd.c:227:31: error: expected ';' before 'oops'
  227 |                 return -ENXIO oops;
      |                               ^~~~~
  CC      mm/swap.o
make[4]: *** [scripts/Makefile.build:295: virt/kvm/guest_memfd.o] Error 1
make: *** [Makefile:260: __sub-make] Error 2
`

describe('firstErrorsOf', () => {
  test('shows the first error with its function and the quoted source, and none of the noise', () => {
    expect(firstErrorsOf(failed)).toEqual([
      "virt/kvm/guest_memfd.c: In function 'kvm_gmem_allocate':",
      "virt/kvm/guest_memfd.c:227:31: error: expected ';' before 'oops'",
      '  227 |                 return -ENXIO oops;',
      '      |                               ^~~~~',
    ])
  })

  test('does not take a file name with error in it for one', () => {
    const log =
      "  CC      lib/error-inject.o\n  CC      fs/err.o\nld: arch/x86/a.o: undefined reference to `foo'\n"

    expect(firstErrorsOf(log)).toEqual(["ld: arch/x86/a.o: undefined reference to `foo'"])
  })

  test('shows the end of a log that has no error in it', () => {
    expect(firstErrorsOf('one\ntwo\nthree\n', 2)).toEqual(['two', 'three'])
  })
})

test.each([
  ['  CC      mm/memory.o', 'mm/memory.o'],
  ['  CC [M]  arch/x86/kvm/svm/svm.o', 'arch/x86/kvm/svm/svm.o'],
  ['  AR      built-in.a', 'built-in.a'],
  ['  UPD     include/generated/utsrelease.h', null],
  ['warning: CC      is no object', null],
])('objectOf(%j) is %j', (line, object) => {
  expect(objectOf(line)).toBe(object)
})

test.each([
  ['cc1: error writing to /tmp/x.s: No space left on device', true],
  ['x86_64-linux-gnu-ld: final link failed: file truncated', true],
  ['mm/memory.c:1:1: error: space expected', false],
])('ranOutOfSpace(%j) is %j', (log, expected) => {
  expect(ranOutOfSpace(log)).toBe(expected)
})

// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { type ModuleIndex, planModules } from '../../src/qemu/modules.js'

/** As depmod writes it for a distribution's kernel: compressed modules, the nearest dependency first. */
const distribution: ModuleIndex = {
  dep: [
    'kernel/arch/x86/kvm/kvm.ko.xz: kernel/virt/lib/irqbypass.ko.xz',
    'kernel/arch/x86/kvm/kvm-amd.ko.xz: kernel/drivers/crypto/ccp/ccp.ko.xz kernel/arch/x86/kvm/kvm.ko.xz kernel/virt/lib/irqbypass.ko.xz',
    'kernel/drivers/crypto/ccp/ccp.ko.xz:',
    'kernel/virt/lib/irqbypass.ko.xz:',
    'kernel/drivers/virtio/virtio.ko.xz: kernel/drivers/virtio/virtio_ring.ko.xz',
    'kernel/drivers/virtio/virtio_ring.ko.xz:',
    'kernel/drivers/char/virtio_console.ko.xz: kernel/drivers/virtio/virtio.ko.xz kernel/drivers/virtio/virtio_ring.ko.xz',
    'kernel/a.ko: ',
    'kernel/b.ko: ',
    'kernel/c.ko: ',
  ].join('\n'),
  softdep: '# Soft dependencies extracted from modules themselves.\nsoftdep a pre: b nowhere post: c\n',
  builtin: 'kernel/drivers/virtio/virtio_pci.ko\nkernel/fs/ext4/ext4.ko\n',
}

const order = (...wanted: string[]): string[] =>
  planModules(distribution, wanted).load.map(({ name }) => name)

describe('the load order of modules', () => {
  test('a module comes after everything that it needs', () => {
    expect(order('kvm_amd')).toEqual(['irqbypass', 'kvm', 'ccp', 'kvm_amd'])
  })

  test('what two modules need is loaded once', () => {
    const names = order('kvm_amd', 'kvm', 'virtio_console')
    expect(names).toHaveLength(new Set(names).size)
  })

  test('dashes and underscores in names are the same', () => {
    expect(order('kvm-amd')).toEqual(order('kvm_amd'))
  })

  test('soft dependencies go before and after, and one that does not exist is ignored', () => {
    expect(order('a')).toEqual(['b', 'a', 'c'])
  })

  test('the path keeps its compression suffix', () => {
    expect(planModules(distribution, ['irqbypass']).load).toEqual([
      { name: 'irqbypass', path: 'kernel/virt/lib/irqbypass.ko.xz' },
    ])
  })

  test('a module that is built in is neither loaded nor missing', () => {
    expect(planModules(distribution, ['virtio_pci'])).toEqual({
      load: [],
      builtin: ['virtio_pci'],
      missing: [],
    })
  })

  test('a module that the kernel does not have is named', () => {
    expect(planModules(distribution, ['kvm', 'null_blk']).missing).toEqual(['null_blk'])
  })

  test('modules that need each other softly do not loop', () => {
    const circular = { ...distribution, softdep: 'softdep a pre: b\nsoftdep b pre: a\n' }
    expect(planModules(circular, ['a']).load.map(({ name }) => name)).toEqual(['b', 'a'])
  })
})

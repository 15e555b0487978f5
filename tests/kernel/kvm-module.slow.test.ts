// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { MAP_SHARED, PROT_READ } from 'gmem/abi'
import { Kvm } from 'gmem/kvm'
import { describe, expect, guestMemfd, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import { FaultInjection, faultInjection, outcomes, wronglyFailed } from './support/fault-injection.js'
import { KvmModule, kvmModule } from './support/kvm-module.js'
import { sys, sysNumber } from './support/system-calls.js'

const SHARED = { mmap: true, initShared: true }
/** The slab cache of guest_memfds' inodes (kvm_gmem_init(), 7.3.4). It has a constructor, so that it is not merged with others. */
const INODE_CACHE = '/sys/kernel/slab/kvm_gmem_inode_cache'
/** More than kvm_init() and what follows it have: before that come some hundred of the module loader's. */
const LAST_PLACES = 120

/** What there is of KVM, and of what kvm_gmem_init() makes. */
function present(module: KvmModule): string[] {
  const all = { module: module.isLoaded(), device: existsSync('/dev/kvm'), inodes: existsSync(INODE_CACHE) }
  return Object.entries(all).flatMap(([name, there]) => (there ? [name] : []))
}

/** Makes a guest_memfd of the KVM that there is now, all of it, and closes everything. */
function useGuestMemfd(): void {
  using kvm = Kvm.open()
  using vm = kvm.createVm()
  using file = vm.createGuestMemfd({ size: pages(2) })
  file.allocate()
}

// Slow: a module takes a while to load and to go, and one test does it for each place that can fail.
describe('the module of KVM', () => {
  // Row G70 of facts/selftests-inventory.md.
  test('is held by an open guest_memfd alone, and by a mapping of one alone', {
    needs: [...kvmModule, sharedGuestMemfd],
  }, (context) => {
    const module = new KvmModule(context)
    const kvm = Kvm.open()
    const file = kvm.createVm().createGuestMemfd({ size: pages(1), flags: SHARED })
    const fd = sysNumber('dup', file.fd)
    // The VM and the file's first fd are closed, too.
    kvm.close()
    const byFile = errnoOf(() => module.unload())
    const hva = sys('mmap', 0, pages(1), PROT_READ, MAP_SHARED, fd, 0)
    sys('close', fd)
    const byMapping = errnoOf(() => module.unload())
    sys('munmap', hva, pages(1))
    const afterThem = errnoOf(() => module.unload())

    expect([byFile, byMapping, afterThem]).toEqual(['EAGAIN', 'EAGAIN', ''])
  })

  test('takes all of guest_memfd along when it is unloaded, and brings it back', {
    needs: [...kvmModule, guestMemfd()],
  }, (context) => {
    const module = new KvmModule(context)
    const before = present(module)
    module.unload()
    const unloaded = present(module)
    module.load()

    expect(before).toEqual(['module', 'device', 'inodes'])
    expect(unloaded).toEqual([])
    expect(present(module)).toEqual(before)
    expect(useGuestMemfd).not.toThrow()
  })

  test('is loaded and works, or leaves nothing, whichever allocation of KVM’s fails on the way', {
    needs: [...kvmModule, ...faultInjection, guestMemfd()],
  }, async (context) => {
    const module = new KvmModule(context)
    const loading = module.loading()
    module.unload()

    const seen = await new FaultInjection(context).lastPlaces(LAST_PLACES, async (inject) => {
      const { code } = await inject(loading)

      expect(present(module).includes('device')).toBe(code === '')
      // A slab cache whose folder cannot be made works without it.
      if (code === '') {
        useGuestMemfd()
        module.unload()
      }
      expect(present(module)).toEqual([])
    })

    expect(wronglyFailed(seen)).toEqual([])
    expect(outcomes(seen)).toContain('failslab ENOMEM')
  })
})

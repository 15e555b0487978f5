// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import type { NativeClassName } from '../../src/binding/addon.js'
import {
  addon,
  anonymous,
  GMEM_MMAP_SHARED,
  inChild,
  MAP_SHARED,
  PAGE,
  PROT_RW,
  Scope,
  thrownBy,
} from './support.js'

const scope = new Scope()
afterEach(() => scope.close())

interface Closable {
  close(): void
}

const openers: Record<NativeClassName, () => Closable> = {
  Kvm: () => scope.use(addon.openKvm('/dev/kvm')),
  Vm: () => scope.use(scope.use(addon.openKvm('/dev/kvm')).createVm(0n)),
  Vcpu: () => scope.use(scope.use(scope.use(addon.openKvm('/dev/kvm')).createVm(0n)).createVcpu(0)),
  GuestMemfd: () =>
    scope.use(
      scope.use(scope.use(addon.openKvm('/dev/kvm')).createVm(0n)).createGuestMemfd(PAGE, GMEM_MMAP_SHARED),
    ),
  Mapping: () => anonymous(scope, PAGE),
}
const classNames = Object.keys(openers) as NativeClassName[]

const members = classNames.flatMap((name) =>
  Object.getOwnPropertyNames(addon.classes[name].prototype)
    .filter((member) => member !== 'constructor' && member !== 'close' && member !== 'running')
    .map((member) => ({ name, member })),
)

test.each(members)('$name.$member after close is a TypeError that names it', ({ name, member }) => {
  const object = openers[name]()
  object.close()

  const error = thrownBy(() => {
    const value: unknown = Reflect.get(object, member)
    if (typeof value === 'function') Reflect.apply(value, object, [])
  })

  expect(error).toBeInstanceOf(TypeError)
  expect(error).toHaveProperty('message', `${name}.${member}: the object is closed`)
})

describe.each(classNames)('%s', (name) => {
  test('close() twice is fine', () => {
    const object = openers[name]()

    object.close()

    expect(() => object.close()).not.toThrow()
  })

  test('has Symbol.dispose, which closes', () => {
    const object = openers[name]()

    Reflect.apply(Reflect.get(object, Symbol.dispose) as () => void, object, [])

    expect(() => Reflect.get(object, name === 'Mapping' ? 'address' : 'fd')).toThrow(/closed/)
  })

  test('cannot be constructed from JavaScript', () => {
    const NativeClass = addon.classes[name] as unknown as new () => object

    expect(() => new NativeClass()).toThrow(TypeError)
  })
})

test('close() gives every file descriptor back', () => {
  const before = readdirSync('/proc/self/fd').length
  for (const name of classNames) openers[name]()

  scope.close()

  expect(readdirSync('/proc/self/fd').length).toBe(before)
})

test('every file descriptor has O_CLOEXEC', () => {
  const kvm = scope.use(addon.openKvm('/dev/kvm'))
  const vm = scope.use(kvm.createVm(0n))
  const vcpu = scope.use(vm.createVcpu(0))
  const memfd = scope.use(vm.createGuestMemfd(PAGE, GMEM_MMAP_SHARED))
  const copy = scope.use(memfd.dup())
  const fcntl = 72n
  const getFlags = 1n

  const flags = [kvm, vm, vcpu, memfd, copy].map(({ fd }) => addon.syscall(Number(fcntl), [fd, getFlags]))

  expect(flags).toEqual([1n, 1n, 1n, 1n, 1n])
})

test('a guest_memfd and its mapping work on when VM and /dev/kvm are closed', () => {
  const kvm = scope.use(addon.openKvm('/dev/kvm'))
  const vm = scope.use(kvm.createVm(0n))
  const memfd = scope.use(vm.createGuestMemfd(PAGE, GMEM_MMAP_SHARED))
  const mapping = scope.use(memfd.mmap(PAGE, PROT_RW, MAP_SHARED, 0n))

  vm.close()
  kvm.close()
  memfd.close()
  mapping.fill(0n, PAGE, 0x5a)

  expect(mapping.findMismatch(0n, PAGE, 0x5a)).toBeNull()
})

describe('in a process of its own', () => {
  test('objects that nobody refers to are collected, with their descriptors', async () => {
    const outcome = await inChild(
      `
      import { readdirSync } from 'node:fs'
      import { setTimeout } from 'node:timers/promises'
      const count = () => readdirSync('/proc/self/fd').length
      const before = count()
      let vms = Array.from({ length: 20 }, () => kvm.createVm(0n))
      let all = vms.flatMap((vm) => [vm.createVcpu(0), vm.createGuestMemfd(4096n, 3n)])
      const most = count()
      vms = all = undefined
      binding.trace.start()
      for (let i = 0; i < 20 && count() > before; i++) { gc(); await setTimeout(10) }
      console.log(most - before, count() - before)`,
      ['--expose-gc'],
    )

    expect(outcome).toEqual({ stdout: '60 0', stderr: '', code: 0, signal: null })
  })

  test('a child keeps its parents from being collected and closed', async () => {
    const outcome = await inChild(
      `
      import { readdirSync } from 'node:fs'
      import { setTimeout } from 'node:timers/promises'
      const count = () => readdirSync('/proc/self/fd').length
      const before = count()
      const create = () => addon.openKvm('/dev/kvm').createVm(0n).createVcpu(0)
      let vcpu = create()
      binding.trace.start()
      for (let i = 0; i < 5; i++) { gc(); await setTimeout(10) }
      const whileReferred = count() - before
      const running = vcpu.running
      vcpu = undefined
      for (let i = 0; i < 20 && count() > before; i++) { gc(); await setTimeout(10) }
      console.log(whileReferred, running, count() - before)`,
      ['--expose-gc'],
    )

    expect(outcome).toEqual({ stdout: '3 false 0', stderr: '', code: 0, signal: null })
  })

  test.each([
    ['returns', ''],
    ['calls process.exit', 'process.exit(0)'],
  ])('everything may be open when the program %s', async (_, end) => {
    const outcome = await inChild(`
      const vm = kvm.createVm(0n)
      const open = [vm, vm.createVcpu(0), vm.createVcpu(1), vm.createGuestMemfd(4096n, 3n), addon.mmap(4096n, 3, 34, -1, 0n, 0n)]
      globalThis.open = open
      console.log('end')
      ${end}`)

    expect(outcome).toEqual({ stdout: 'end', stderr: '', code: 0, signal: null })
  })
})

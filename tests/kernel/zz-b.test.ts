import { writeFileSync, existsSync, readFileSync } from 'node:fs'
import { test, expect, gpa, pages } from 'gmem/testing'
const out: string[] = []
const t = async (n: string, f: () => unknown) => { const a = performance.now(); await f(); const d = performance.now() - a; out.push(`${n} ${d.toFixed(1)}`) }
test('warm', async ({ kvm }) => { kvm.createVm().close() })
test('empty', async () => { })
test('empty2', async () => { })
test('empty3', async () => { })
for (const e of ['0', '1']) test('one'+e, async ({ kvm }) => {
  writeFileSync('/sys/kernel/rcu_expedited', e)
  for (let i = 0; i < 4; i++) {
    let vm: any, f: any
    await t('create', () => { vm = kvm.createVm() })
    await t('gmem', () => { f = vm.createGuestMemfd({ size: pages(8), flags: { mmap: true, initShared: true } }) })
    await t('slot', () => { vm.addMemslot({ gpa: gpa(0x1000_0000), size: pages(8), guestMemfd: f }) })
    await t('del', () => vm.deleteMemslot(1))
    await t('close', () => { vm.close() })
  }
  console.log(out.splice(0).join(' | '))
})

// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { listFlavours, readFragments } from '../../src/kernels/flavours.js'
import { checkConfig, parseFragment } from '../../src/kernels/kconfig.js'

let src: string

beforeEach(() => {
  src = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-kconfig-`))
  writeFileSync(join(src, 'Kconfig'), 'config KVM\n\ttristate\n\nmenuconfig NUMA_EMU\n\tbool "x"\n')
})

afterEach(() => rmSync(src, { recursive: true, force: true }))

const configured = (text: string): void => writeFileSync(join(src, '.config'), text)

describe('checkConfig', () => {
  test('is content when each line survived, and when a module became built in', async () => {
    configured('CONFIG_KVM=y\nCONFIG_HZ=250\n# CONFIG_VT is not set\n')

    const report = await checkConfig(
      src,
      'CONFIG_KVM=m\nCONFIG_HZ=250\n# CONFIG_VT is not set\nCONFIG_NET=n\n',
    )

    expect(report).toEqual({ missing: [], lost: [], unknown: [] })
  })

  test('tells a required line from a lost one and from a symbol that the source does not know', async () => {
    configured('# CONFIG_KVM is not set\n')

    const report = await checkConfig(
      src,
      '# [required]\nCONFIG_KVM=m\n# [optional]\nCONFIG_NUMA_EMU=y\nCONFIG_OF_THE_FUTURE=y\n',
    )

    expect(report).toEqual({
      missing: ['CONFIG_KVM=m (is n)'],
      lost: ['CONFIG_NUMA_EMU=y (is n)'],
      unknown: ['OF_THE_FUTURE'],
    })
  })

  test('reports what became a module though it was to be built in, and a number that changed', async () => {
    configured('CONFIG_KVM=m\nCONFIG_NUMA_EMU=8\n')

    const report = await checkConfig(src, 'CONFIG_KVM=y\nCONFIG_NUMA_EMU=4\n')

    expect(report.lost).toEqual(['CONFIG_KVM=y (is m)', 'CONFIG_NUMA_EMU=4 (is 8)'])
  })

  test('reports an option that was to be off and is on', async () => {
    configured('CONFIG_KVM=y\n')

    expect((await checkConfig(src, '# CONFIG_KVM is not set\n')).lost).toEqual(['CONFIG_KVM=n (is y)'])
  })
})

describe('the fragments', () => {
  test.each(listFlavours())(
    'of %s name no symbol twice with different values, and require KVM',
    (flavour) => {
      const text = readFragments(flavour)
      const named = [...text.matchAll(/^(?:CONFIG_(\w+)=(.*)|# CONFIG_(\w+) is not set)$/gm)]
      const values = new Map<string, Set<string>>()
      for (const [, set, value, unset] of named) {
        const symbol = set ?? unset ?? ''
        values.set(symbol, (values.get(symbol) ?? new Set()).add(value ?? 'n'))
      }

      expect([...values].filter(([, seen]) => seen.size > 1).map(([symbol]) => symbol)).toEqual([])
      expect(parseFragment(text)).toContainEqual({ symbol: 'KVM', value: 'm', required: true })
    },
  )
})

// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConsoleScanner, type ConsoleScannerOptions } from '../../src/splats/console.js'
import { recording } from './splats-samples.js'

function scan(text: string, options?: ConsoleScannerOptions): ConsoleScanner {
  const scanner = new ConsoleScanner(options)
  scanner.push(text)
  scanner.finish()
  return scanner
}

describe('the console of a VM that died', () => {
  test('in a panic names kind, test and the last lines', () => {
    const scanner = scan(recording('panic.console'))
    expect(scanner.splats).toMatchObject([{ kind: 'panic', fatal: true }])
    expect(scanner.runningTest).toMatchObject({ id: 'panic' })
    expect(scanner.lastLines.at(-1)).toContain('Kernel Offset: disabled')
  })

  test('in a triple fault says nothing but which test ran', () => {
    const scanner = scan(recording('triple-fault.console'))
    expect(scanner.splats).toEqual([])
    expect(scanner.runningTest).toEqual({ id: 'triple_fault', name: '' })
  })

  test('between tests names the last one, which had ended', () => {
    const scanner = scan(
      '[    1.000000][    T1] gmem: test start 7_0 a page is kept\n[    1.100000][    T1] gmem: test end 7_0\n',
    )
    expect(scanner.runningTest).toBeNull()
    expect(scanner.lastTest).toEqual({ id: '7_0', name: 'a page is kept' })
  })
})

describe('a reboot', () => {
  const boot = '[    0.000000][    T0] Linux version 7.3.4 (root@vm)\n'

  test('is a second start on the same console', () => {
    expect(scan(boot).splats).toEqual([])
    expect(scan(`${boot}[    9.000000][    T1] text\n${boot}`).splats).toMatchObject([
      { kind: 'reboot', fatal: true },
    ])
  })

  test('is the first start on the console of a restored VM', () => {
    expect(scan(boot, { restored: true }).splats).toMatchObject([{ kind: 'reboot' }])
  })
})

describe('the scanner', () => {
  test('finds the same however the text is cut', () => {
    const text = Buffer.from(`${recording('panic-on-warn.console')}${recording('soft-lockup.console')}ü`)
    const whole = scan(text.toString()).splats
    expect(whole).toHaveLength(3)
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }), (sizes) => {
        const scanner = new ConsoleScanner()
        for (let at = 0, piece = 0; at < text.length; piece += 1) {
          const size = sizes[piece % sizes.length] ?? 1
          scanner.push(text.subarray(at, at + size))
          at += size
        }
        expect(scanner.finish()).toEqual(whole)
      }),
      { numRuns: 25 },
    )
  })

  test('shows complete reports while the console goes on', () => {
    const text = recording('faults.console')
    const scanner = new ConsoleScanner()
    scanner.push(text.slice(0, text.indexOf('BUG: unable to handle page fault')))
    expect(scanner.splats.map((splat) => splat.kind)).toEqual(['BUG', 'Oops'])
  })

  test('counts the same report instead of listing it', () => {
    const text = recording('hung-task.kmsg')
      .split('\n')
      .map((line) => line.replace(/^\d+,\d+,(\d+)(\d{6}),-,caller=(\w+);/, '[    $1.$2][ $3] '))
    expect(scan(text.join('\n')).splats).toMatchObject([{ kind: 'hung-task', count: 2 }])
  })

  test('keeps as many last lines as it is told', () => {
    const scanner = scan(Array.from({ length: 1000 }, (_, index) => `line ${index}`).join('\n'), {
      lastLines: 3,
    })
    expect(scanner.lastLines).toEqual(['line 997', 'line 998', 'line 999'])
  })

  test('survives a console that never ends its line', () => {
    const scanner = new ConsoleScanner()
    for (let index = 0; index < 100; index += 1) scanner.push('x'.repeat(10_000))
    scanner.finish()
    expect(scanner.lastLines.join('').length).toBeLessThan(20_000)
  })
})

// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { linesOfRecord, parseConsoleLine, parseKmsgRecord, unescapeKmsg } from '../../src/splats/kmsg.js'

describe('a record of /dev/kmsg', () => {
  test('gives level, facility, sequence, time and caller', () => {
    expect(parseKmsgRecord('4,325,2422490,-,caller=T45;WARNING: something\n')).toEqual({
      level: 4,
      facility: 0,
      seq: 325,
      timeUs: 2422490,
      caller: 'T45',
      continued: false,
      text: 'WARNING: something',
      properties: {},
    })
  })

  test('has no caller on a kernel without CONFIG_PRINTK_CALLER', () => {
    expect(parseKmsgRecord('6,1,0,-;hello')).toMatchObject({ caller: '', text: 'hello' })
  })

  test('that user space wrote carries another facility than the kernel', () => {
    expect(parseKmsgRecord('14,9,1,-,caller=T1;gmem: test start 1 x')).toMatchObject({
      level: 6,
      facility: 1,
    })
  })

  test('may be the continuation of a line', () => {
    expect(parseKmsgRecord('3,5,10,c,caller=C0; stuck for 2s!')).toMatchObject({
      continued: true,
      caller: 'C0',
    })
  })

  test('keeps a semicolon and a comma that belong to the text', () => {
    expect(parseKmsgRecord('6,1,0,-,caller=T1;a; b, c')).toMatchObject({ text: 'a; b, c' })
  })

  test('gives its properties', () => {
    const record = parseKmsgRecord(
      '6,339,5140900,-,caller=T1;NET: Registered\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n',
    )
    expect(record?.properties).toEqual({ SUBSYSTEM: 'acpi', DEVICE: '+acpi:PNP0A03:00' })
    expect(record?.text).toBe('NET: Registered')
  })

  test('with fields that a later kernel adds is still read', () => {
    expect(parseKmsgRecord('6,1,0,-,caller=T1,execution_ctx=x;text')).toMatchObject({
      caller: 'T1',
      text: 'text',
    })
  })

  test('with an escaped newline is several lines of one sequence number', () => {
    const record = parseKmsgRecord('3,7,1,-,caller=T1;at ffff\\x0a which belongs to the cache')
    expect(record === null ? [] : linesOfRecord(record).map(({ seq, text }) => [seq, text])).toEqual([
      [7, 'at ffff'],
      [7, ' which belongs to the cache'],
    ])
  })

  test.each(['', 'hello', 'x,1,2,-;text', '6,1,0'])('is not what %j is', (raw) => {
    expect(parseKmsgRecord(raw)).toBeNull()
  })

  test('escapes bytes of UTF-8 and the backslash', () => {
    expect(unescapeKmsg('comm \\xc3\\xa4 \\x5cx')).toBe('comm ä \\x')
  })
})

describe('a line of the console', () => {
  test('gives time, caller and text', () => {
    expect(parseConsoleLine('[    1.160479][   T42] ------------[ cut here ]------------', 5)).toEqual({
      seq: 5,
      timeUs: 1_160_479,
      caller: 'T42',
      facility: null,
      continued: false,
      text: '------------[ cut here ]------------',
    })
  })

  test('has no caller on a kernel without CONFIG_PRINTK_CALLER', () => {
    expect(parseConsoleLine('[   12.345678] BUG: x', 0)).toMatchObject({
      timeUs: 12_345_678,
      caller: '',
      text: 'BUG: x',
    })
  })

  test('keeps the indentation of the text', () => {
    expect(parseConsoleLine('[    1.0]', 0)).toBeNull()
    expect(parseConsoleLine('[    1.172803][    C1]  <TASK>', 0)).toMatchObject({
      caller: 'C1',
      text: ' <TASK>',
    })
  })

  test('may end in a carriage return', () => {
    expect(parseConsoleLine('[    1.172803][   T42] text\r', 0)).toMatchObject({ text: 'text' })
  })

  test('in the syslog format tells the facility', () => {
    expect(parseConsoleLine('<14>[    1.172803][   T42] gmem: x', 0)).toMatchObject({ facility: 1 })
    expect(parseConsoleLine('<4>[    1.172803][   T42] WARNING', 0)).toMatchObject({ facility: 0 })
  })

  test('is found behind what a program wrote without a newline', () => {
    expect(parseConsoleLine('node ended[   35.285059][   T43] sysrq: HELP', 0)).toMatchObject({
      caller: 'T43',
      text: 'sysrq: HELP',
    })
  })

  test.each(['', 'user: warn ended', 'SeaBIOS (version 1.16.2)', 'BUG: printed by a program', '[1/2] done'])(
    'is not what %j is',
    (line) => {
      expect(parseConsoleLine(line, 0)).toBeNull()
    },
  )
})

// SPDX-License-Identifier: Apache-2.0
import { header, PART, type Pattern } from './pattern.js'

const { symbol, task, cpu, at } = PART

/** kernel/panic.c, lib/bug.c and what a WARN or BUG says about itself in the line before its header. */
const ASSERTIONS: readonly Pattern[] = [
  // __warn(): since 6.18 the file comes first, before that CPU and PID.
  header('WARN', 'cut', 10, `WARNING: ${at} at ${symbol}, ${cpu}: ${task}$`, 'WARNING: $<at> at $<fn>'),
  header('WARN', 'cut', 10, `WARNING: at ${symbol}, ${cpu}: ${task}$`, 'WARNING: at $<fn>'),
  header(
    'WARN',
    'cut',
    10,
    `WARNING: CPU: (?<cpu>\\d+) PID: \\d+ at ${at} ${symbol}$`,
    'WARNING: $<at> at $<fn>',
  ),
  header(
    'WARN',
    'line',
    4,
    "WARNING: (?<what>kernel stack .*|stack recursion .*|can't access (?:iret )?registers)",
    'WARNING: $<what>',
  ),
  header('refcount', 'cut', 20, '(?<what>refcount_t: .+?)\\.?$', '$<what> @'),
  header(
    'list-corruption',
    'cut',
    20,
    '(?<what>list_(?:add|del)(?: double add| corruption))[.,:]? ?',
    '$<what> @',
  ),
  header(
    'debugobjects',
    'cut',
    20,
    'ODEBUG: (?<what>\\w+ .+?) \\(active state \\d+\\).* object type: (?<type>\\S+)',
    'ODEBUG: $<what> $<type> @',
  ),
  header(
    'usercopy',
    'cut',
    20,
    'usercopy: (?<what>Kernel memory (?:exposure|overwrite) attempt detected \\w+ .+?) ?\\(offset',
    'usercopy: $<what> @',
  ),
  header('BUG', 'cut', 12, `kernel BUG at ${at}!$`, 'kernel BUG at $<at> @'),
  header('BUG', 'cut', 12, 'kernel BUG at .+ \\[verbose debug info unavailable\\]', 'kernel BUG @'),
]

/** arch/x86/mm/fault.c, arch/x86/kernel/{traps,dumpstack}.c; arm64's forms of the same. */
const FAULTS: readonly Pattern[] = [
  header('Oops', 'cut', 12, 'BUG: (?<what>kernel NULL pointer dereference), address: ', 'BUG: $<what> @'),
  header(
    'Oops',
    'cut',
    12,
    'BUG: (?<what>unable to handle (?:page fault|kernel [\\w ]+?))(?: for address:| at |$)',
    'BUG: $<what> @',
  ),
  header('Oops', 'cut', 3, '(?<what>kernel tried to execute NX-protected page)', '$<what> @'),
  header('Oops', 'cut', 3, 'Oops: Oops: [0-9a-f]{4} \\[#\\d+\\]', 'Oops @'),
  header('Oops', 'cut', 8, 'Oops: (?<what>(?:segment-related )?general protection fault)', 'Oops: $<what> @'),
  header('Oops', 'cut', 8, 'Oops: (?<what>.+?): [0-9a-f]{4} \\[#\\d+\\]', 'Oops: $<what> @'),
  header(
    'Oops',
    'cut',
    8,
    '(?<what>general protection fault|divide error|invalid opcode|stack segment|int3|bounds|Oops)' +
      '(?:, probably for .*)?: [0-9a-f]{4} \\[#\\d+\\]',
    'Oops: $<what> @',
  ),
  header('Oops', 'cut', 12, '(?<what>Unable to handle kernel \\S[\\w -]*?) at virtual address', '$<what> @'),
  header('Oops', 'cut', 8, '(?<what>Internal error: .+?): [0-9a-f]+ \\[#\\d+\\]', '$<what> @'),
  header('Oops', 'cut', 12, 'CFI failure at ', 'CFI failure @'),
  header('double-fault', 'cut', 25, '(?:traps: )?PANIC: double fault', 'PANIC: double fault @'),
  header(
    'stack-overflow',
    'cut',
    25,
    '(?:traps: )?BUG: (?<what>(?:\\S+ )?stack guard page was hit)',
    'BUG: $<what> @',
  ),
]

export const FAULT_HEADERS: readonly Pattern[] = [...ASSERTIONS, ...FAULTS]

/** They come last: everything else is more precise. */
export const LAST_HEADERS: readonly Pattern[] = [
  header('panic', 'trace', 2, 'Kernel panic - not syncing: (?<what>.*)$', 'Kernel panic: $<what>'),
  // Whatever else calls itself a BUG.
  header('BUG', 'trace', 1, 'BUG: (?<what>\\S.*)$', 'BUG: $<what> @'),
]

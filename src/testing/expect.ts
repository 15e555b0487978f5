// SPDX-License-Identifier: Apache-2.0
import { chai, expect as vitestExpect } from 'vitest'
import { certainlyEqual } from './certainly-equal.js'
import type { Check } from './check.js'

/** Judges what expect() was given; the arguments are those of the matcher. */
export type Judge = (received: unknown, ...args: never[]) => Check | Promise<Check>

/** A line of a stack trace: compiled, or as vitest's source maps have it. */
const THIS_FILE = /\/testing\/expect\.[jt]s\b/

/** A failed check on its way into vitest, whose matcher must not judge again: a system call or a read of memory may end otherwise. */
let judged: Check | null = null

/** Where vitest's own matcher begins: the verdict that `expect` has come to already, or null where it was not asked. */
export function takeVerdict(): Check | null {
  const check = judged
  judged = null
  return check
}

/**
 * An assertion of which vitest hears only when it fails, or is of another kind than those below. vitest's own takes 300,000 instructions
 * of an emulated guest (chai's proxies and flags, vitest's state), which was a seventh of what a test of the contract executes.
 */
class Expectation {
  constructor(
    readonly received: unknown,
    readonly message: string | undefined,
  ) {}

  toBe(expected: unknown): unknown {
    return Object.is(this.received, expected) ? holds() : inVitest(this, 'toBe', [expected])
  }

  toEqual(expected: unknown): unknown {
    return certainlyEqual(this.received, expected) ? holds() : inVitest(this, 'toEqual', [expected])
  }
}

// Everything else: `not`, `resolves`, other matchers, also those that a test adds.
Object.setPrototypeOf(
  Expectation.prototype,
  new Proxy(Object.prototype, {
    get: (_, name, expectation: Expectation) => memberInVitest(expectation, name),
  }),
)

/**
 * Makes a matcher of gmem's judge without vitest; vitest, which must know it too, gives the error where it fails. It judges again where
 * the verdict is not `final`: where this judge can only be sure of what passes.
 */
export function judgeAhead(name: string, judge: Judge, { final }: { readonly final: boolean }): void {
  Object.defineProperty(Expectation.prototype, name, {
    configurable: true,
    writable: true,
    value(this: Expectation, ...args: never[]): unknown {
      const conclude = (check: Check) =>
        check.pass ? holds() : inVitest(this, name, args, final ? check : null)
      const check = judge(this.received, ...args)
      return check instanceof Promise ? check.then(conclude) : conclude(check)
    },
  })
}

// expect.assertions() counts, too. getState() is the live state.
function holds(): undefined {
  vitestExpect.getState().assertionCalls += 1
}

function inVitest(
  expectation: Expectation,
  name: string,
  args: readonly unknown[],
  check: Check | null = null,
): unknown {
  judged = check
  try {
    return memberInVitest(expectation, name)(...args)
  } finally {
    judged = null
  }
}

/** What vitest's own assertion has by this name; a method is called as if by the test. */
// biome-ignore lint/suspicious/noExplicitAny: anything that an assertion of vitest or of a plugin of chai's may have.
function memberInVitest({ received, message }: Expectation, name: string | symbol): any {
  const assertion = vitestExpect(received, message)
  const member = Reflect.get(assertion, name)
  // chai's `include` and the like are functions that are assertions themselves.
  if (typeof member !== 'function' || member instanceof chai.Assertion) return member
  return (...args: unknown[]) => fromTheTest(() => Reflect.apply(member, assertion, args))
}

/** As if the test had called vitest: reports show the innermost line that is not vitest's, and it has to be the test's. */
function fromTheTest(call: () => unknown): unknown {
  try {
    const result = call()
    return result instanceof Promise ? result.catch(rethrow) : result
  } catch (error) {
    return rethrow(error)
  }
}

function rethrow(error: unknown): never {
  if (error instanceof Error && error.stack !== undefined) {
    const lines = error.stack.split('\n')
    error.stack = lines.filter((line) => !THIS_FILE.test(line)).join('\n')
  }
  throw error
}

/** vitest's expect. */
export const expect: typeof vitestExpect = new Proxy(vitestExpect, {
  // SAFETY: Expectation has what vitest's assertion has, by way of its prototype.
  apply: (_target, _this, [received, message]: [unknown, string?]) =>
    new Expectation(received, message) as unknown as ReturnType<typeof vitestExpect>,
})

// SPDX-License-Identifier: Apache-2.0

/** Data of a test is not deeper; what is, or is a cycle, goes to vitest. */
const DEPTH_MAX = 8

/**
 * Whether toEqual() holds for certain: plain data, compared by value. False says nothing: what this does not know (asymmetric matchers,
 * `undefined` against a missing field, class instances, testers of addEqualityTesters()) is for vitest to judge.
 */
export function certainlyEqual(left: unknown, right: unknown, depth = 0): boolean {
  if (Object.is(left, right)) return true
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false
  const prototype = Object.getPrototypeOf(left)
  if (prototype !== Object.getPrototypeOf(right) || depth === DEPTH_MAX) return false
  if (prototype === Uint8Array.prototype || prototype === Buffer.prototype)
    // SAFETY: both have the prototype of bytes, which nothing else has.
    return Buffer.compare(left as Uint8Array, right as Uint8Array) === 0
  if (prototype !== Array.prototype && prototype !== Object.prototype) return false
  return sameFields(left, right, depth + 1)
}

function sameFields(left: object, right: object, depth: number): boolean {
  const names = Reflect.ownKeys(left)
  if (names.length !== Reflect.ownKeys(right).length) return false
  for (const name of names) {
    if (typeof name === 'symbol' || !Object.hasOwn(right, name)) return false
    if (!certainlyEqual(Reflect.get(left, name), Reflect.get(right, name), depth)) return false
  }
  return true
}

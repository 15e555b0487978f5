// SPDX-License-Identifier: Apache-2.0
/** The numbers at the start of `uname -r`: `7.3.4-gmem` is [7, 3, 4], `7.4-rc1` [7, 4, 0]. */
export function parseRelease(release: string): readonly [number, number, number] {
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release)
  if (match === null) throw new TypeError(`'${release}' does not start with a kernel version`)
  return [Number(match[1]), Number(match[2]), Number(match[3] ?? '0')]
}

/** True where `release` is `version` or of its series: `7.3.4-gmem` matches `7.3` and `7.3.4`, not `7.30`. */
export function releaseMatches(release: string, version: string): boolean {
  const rest = release.slice(version.length)
  return release.startsWith(version) && (rest === '' || /^[^0-9]/.test(rest))
}

/** True where `release` is `version` or later. */
export function releaseAtLeast(release: string, version: string): boolean {
  const have = parseRelease(release)
  const want = parseRelease(version)
  for (const [index, number] of have.entries()) {
    const wanted = want[index] ?? 0
    if (number !== wanted) return number > wanted
  }
  return true
}

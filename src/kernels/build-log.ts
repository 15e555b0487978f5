// SPDX-License-Identifier: Apache-2.0

/** A line by which make says that it makes an object: the measure of progress. */
const objectLine = /^ {2}(?:CC|LD|AR|AS|HOSTCC|HOSTLD|OBJCOPY|LDS)(?: \[M\])? +(\S+)/

const firstErrors =
  /(?:^|\s)(?:fatal )?error: |: undefined reference to |: multiple definition of |: Error: |ERROR: modpost|ERROR: |Kconfig:\d+: |^Killed|internal compiler error/

/** The object named by a line of make's output, or null for any other line. */
export function objectOf(line: string): string | null {
  return objectLine.exec(line)?.[1] ?? null
}

/** Whether a build failed for want of disk space. */
export function ranOutOfSpace(log: string): boolean {
  return /No space left on device|ENOSPC|final link failed: file truncated/.test(log)
}

/**
 * The part of a build log that tells why it failed: the first errors with the lines around them that belong to
 * them (the function, the quoted source), or the end of the log where nothing looks like an error.
 */
export function firstErrorsOf(log: string, limit = 12): string[] {
  const lines = log.split('\n').filter((line) => line.trim() !== '')
  const first = lines.findIndex((line) => firstErrors.test(line) && !line.startsWith('make'))
  if (first < 0) return lines.slice(-limit)
  const context = lines
    .slice(Math.max(0, first - 2), first)
    .filter((line) => /: In |from |In file/.test(line))
  const rest: string[] = []
  for (const line of lines.slice(first)) {
    if (rest.length + context.length >= limit) break
    if (objectOf(line) === null && !line.startsWith('make')) rest.push(line)
  }
  return [...context, ...rest]
}

// SPDX-License-Identifier: Apache-2.0

/** What a search looks at: points in a row, of which some cannot be tested. */
export interface Row<T> {
  /** What is seen at a point; null where it cannot be tested (it does not build). Called once for each point. */
  look(point: number): Promise<T | null>
  /** Whether something changed from one to the other. */
  differ(a: T, b: T): boolean
}

/** Where something changed: at `by`, or, with `by` more than one above `after`, at one of the points between, which cannot be tested. */
export interface Step {
  readonly after: number
  readonly by: number
}

/**
 * Finds the points at which something changes, between two that differ: by halves, so that few points are looked at. What changes and
 * changes back between two points that are alike stays unseen.
 */
export async function locate<T>(first: number, last: number, row: Row<T>): Promise<Step[]> {
  const seen = new Map<number, T | null>()
  const look = async (point: number): Promise<T | null> => {
    if (!seen.has(point)) seen.set(point, await row.look(point))
    return seen.get(point) ?? null
  }
  const search = async (after: number, by: number): Promise<Step[]> => {
    const [a, b] = [await look(after), await look(by)]
    if (a === null || b === null || !row.differ(a, b)) return []
    for (const point of fromTheMiddle(after, by)) {
      if ((await look(point)) === null) continue
      return [...(await search(after, point)), ...(await search(point, by))]
    }
    return [{ after, by }]
  }
  return await search(first, last)
}

/** The points between two others, the middle one first. */
export function fromTheMiddle(after: number, by: number): number[] {
  const middle = (after + by) / 2
  const points = Array.from({ length: Math.max(0, by - after - 1) }, (_, index) => after + 1 + index)
  return points.sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle) || a - b)
}

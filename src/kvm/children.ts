// SPDX-License-Identifier: Apache-2.0
/** Something that holds kernel resources until closed; closing twice is allowed. */
export interface Closable {
  close(): void
}

/** What an object owns. Closing the owner closes these first, the youngest first. */
export class Children {
  readonly #children = new Set<Closable>()

  add<T extends Closable>(child: T): T {
    this.#children.add(child)
    return child
  }

  delete(child: Closable): void {
    this.#children.delete(child)
  }

  /** Closes all, even when some fail; then throws what failed (an AggregateError where several did). */
  closeAll(): void {
    const errors: unknown[] = []
    for (const child of [...this.#children].reverse()) {
      this.#children.delete(child)
      try {
        child.close()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length === 1) throw errors[0]
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} objects could not be closed`)
  }
}

// SPDX-License-Identifier: Apache-2.0

type Listener = (argument: unknown) => void

/** The part of a vitest PoolWorker that only passes events on. An event that nobody listens to is dropped, 'error' too. */
export abstract class ListeningWorker {
  // With a file-system cache vitest would send paths of the host's temporary folder, which the guest does not have.
  readonly cacheFs = false
  readonly #listeners = new Map<string, Set<Listener>>()

  on(event: string, callback: Listener): void {
    const set = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, set.add(callback))
  }

  off(event: string, callback: Listener): void {
    this.#listeners.get(event)?.delete(callback)
  }

  deserialize(data: unknown): unknown {
    return data
  }

  protected emit(event: string, argument: unknown): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(argument)
  }
}

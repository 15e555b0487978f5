// SPDX-License-Identifier: Apache-2.0
/** vitest ends the process 1 ms after a signal, with VMs running and results unwritten. gmem's own handlers clean up first. */
export function currentSignalHandlers(): { removeNew(): void } {
  const signals = ['SIGINT', 'SIGTERM'] as const
  const before = new Set(signals.flatMap((signal) => process.listeners(signal)))
  return {
    removeNew() {
      for (const signal of signals) {
        for (const listener of process.listeners(signal)) {
          if (!before.has(listener)) process.off(signal, listener)
        }
      }
    },
  }
}

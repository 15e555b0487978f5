// SPDX-License-Identifier: Apache-2.0

/** Where long work says what it is doing. The CLI draws it; a library caller passes `silentProgress` or its own. */
export interface Progress {
  /** Starts a phase, named as it should be read: `unpacking linux-source-7.3`. Ends the one before. */
  phase(title: string): void
  /** Refines the running phase: how much of it is done (0 to 1), and what is at hand. */
  update(state: { readonly fraction?: number; readonly detail?: string }): void
  /** A line that stays. */
  note(text: string): void
  /** A line that stays and should be read. */
  warn(text: string): void
  /** Ends the running phase, if there is one. */
  end(): void
}

export const silentProgress: Progress = {
  phase: () => undefined,
  update: () => undefined,
  note: () => undefined,
  warn: () => undefined,
  end: () => undefined,
}

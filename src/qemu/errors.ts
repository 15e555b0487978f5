// SPDX-License-Identifier: Apache-2.0
import { ExitCode, GmemError } from '../errors.js'

/**
 * Something around the kernel under test is missing or broken (QEMU, a tool, the image file, disk space): no
 * verdict about the kernel. The message says what to do. Ends a run with exit code 69.
 */
export class InfrastructureError extends GmemError {
  override readonly name = 'InfrastructureError'

  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super(message, { exitCode: ExitCode.infrastructure, ...options })
  }
}

/**
 * A VM could not be saved, or a saved one not restored. Never the end of a run: the caller boots cold
 * instead, and says so with this message.
 */
export class SavedVmError extends Error {
  override readonly name = 'SavedVmError'
}

/**
 * QEMU refused a QMP command, or did not answer it. `errorClass` is QEMU's own class (`GenericError`,
 * `CommandNotFound`).
 */
export class QmpError extends Error {
  override readonly name = 'QmpError'

  constructor(
    message: string,
    readonly errorClass: string | null,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

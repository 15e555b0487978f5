// SPDX-License-Identifier: Apache-2.0
import type { TroublePolicy } from '../protocol.js'

export class TroubleGate {
  readonly isTainted = false
  constructor(readonly policy: TroublePolicy) {}
  open(_name: string): void {}
  close(_name: string): Error | null {
    return null
  }
}

// SPDX-License-Identifier: Apache-2.0
import type { TestObserver } from '../../testing/index.js'
import type { LedgerEntry, RecordedResult, TestIdentity, TroublePolicy } from '../protocol.js'
import type { GuestPort } from './port.js'

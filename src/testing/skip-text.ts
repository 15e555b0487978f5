// SPDX-License-Identifier: Apache-2.0

/** Why a test is skipped that is for targets without something. A comparison reads it: such a target got more, not worse. */
export const TARGET_HAS_IT = 'the target has it'

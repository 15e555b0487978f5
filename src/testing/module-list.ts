// SPDX-License-Identifier: Apache-2.0
/** In a VM of gmem's own: which of the project's modules it has, as JSON: `{ file }` or `{ reason }` by name. */
export const TEST_MODULES_LIST = '/etc/gmem/test-modules.json'

// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const built = (module: string) => fileURLToPath(new URL(`./dist/${module}/index.js`, import.meta.url))

const alias = { 'gmem/testing': built('testing'), 'gmem/kvm': built('kvm'), 'gmem/abi': built('abi') }

// The compiled API is imported natively: a saved VM has it loaded already.
const server = { deps: { external: [/\/dist\//] } }

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { alias },
        test: { name: 'unit', include: ['tests/unit/**/*.test.ts'], server },
      },
      {
        resolve: { alias },
        test: { name: 'kernel:host', include: ['tests/kernel/**/*.test.ts'], pool: 'forks', server },
      },
    ],
  },
})

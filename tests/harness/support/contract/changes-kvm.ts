// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { kernelAtLeast, setKvmParameter, test } from 'gmem/testing'

const found = readFileSync('/sys/module/kvm/parameters/ignore_msrs', 'latin1').trim()
if (found !== 'N') throw new Error(`another file’s KVM is in this VM: ignore_msrs is ${found}`)
setKvmParameter('ignore_msrs', 'Y')

test('has a need that no kernel meets', { needs: [kernelAtLeast('99.0')] }, () => {})

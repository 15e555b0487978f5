// SPDX-License-Identifier: Apache-2.0
import { dirname, resolve } from 'node:path'
import type { MatrixAccelerator, MatrixConfig, MatrixExclude } from '../config.js'
import { GmemError, usageError } from '../errors.js'
import { type KernelSpec, parseKernelSpec } from '../kernels/spec.js'
import type { CellPlace } from '../report/matrix.js'
import { type LoadedConfig, nameOf } from './matrix-config.js'

/** A cell that is to be run. */
export interface PlannedCell extends CellPlace {
  readonly spec: KernelSpec
}

const PLAIN = 'plain'

/**
 * The cells of a matrix, kernels outermost. Throws a usage error that names the field where a kernel or a flavour is not to be had, an
 * exclusion names what is on no axis, two cells are the same, or none is left.
 */
export function matrixCells({ file, config }: LoadedConfig): PlannedCell[] {
  const cells: PlannedCell[] = []
  const names = new Map<string, string>()
  const rules = config.exclude ?? []
  for (const [index, rule] of rules.entries()) checkRule(rule, index, config, file)
  for (const [index, kernel] of config.kernels.entries()) {
    for (const flavour of config.flavours ?? [null]) {
      // Not even looked at where nothing of it is left: an image has no flavours to choose from.
      const places = placesOf(config, kernel, flavour).filter(
        (place) => !rules.some((rule) => fits(rule, place)),
      )
      if (places.length === 0) continue
      const spec = specOf(kernel, flavour, file, `kernels[${index}]`)
      for (const place of places) {
        const name = cellName(place, config)
        const twin = names.get(name)
        if (twin !== undefined) {
          throw usageError(
            `${nameOf(file)}: kernels[${index}]: "${kernel}" gives the cell ${name}, as ${twin} does`,
          )
        }
        names.set(name, `"${kernel}"`)
        cells.push({ ...place, flavour: spec.flavour, name, spec })
      }
    }
  }
  if (cells.length === 0) throw usageError(`${nameOf(file)}: exclude: it leaves no cell`)
  return cells
}

type Place = Omit<CellPlace, 'name' | 'flavour'> & { readonly flavour: string | null }

function placesOf(config: MatrixConfig, kernel: string, flavour: string | null): Place[] {
  return (config.parameters ?? ['']).flatMap((parameters) =>
    (config.accelerators ?? ['auto' as MatrixAccelerator]).map((accelerator) => ({
      kernel,
      flavour,
      parameters: singleSpaced(parameters),
      accelerator,
    })),
  )
}

function fits(rule: MatrixExclude, place: Place): boolean {
  const { kernel, flavour, parameters, accelerator } = rule
  return (
    (kernel === undefined || kernel === place.kernel) &&
    (flavour === undefined || flavour === (place.flavour ?? PLAIN)) &&
    (parameters === undefined || singleSpaced(parameters) === place.parameters) &&
    (accelerator === undefined || accelerator === place.accelerator)
  )
}

function singleSpaced(parameters: string): string {
  return parameters.trim().replace(/ +/g, ' ')
}

/** A misspelt exclusion would exclude nothing, in silence. */
function checkRule(rule: MatrixExclude, index: number, config: MatrixConfig, file: string): void {
  const axes = {
    kernel: config.kernels,
    flavour: config.flavours ?? [PLAIN],
    parameters: config.parameters ?? [''],
    accelerator: config.accelerators ?? ['auto'],
  }
  for (const [field, values] of Object.entries(axes)) {
    const value = rule[field as keyof MatrixExclude]
    if (value === undefined || (values as readonly string[]).includes(value)) continue
    const known = values.map((one) => JSON.stringify(one)).join(', ')
    throw usageError(`${nameOf(file)}: exclude[${index}].${field}: "${value}" is none of ${known}`)
  }
}

function specOf(kernel: string, flavour: string | null, file: string, field: string): KernelSpec {
  const text = /^\.\.?\//.test(kernel) ? resolve(dirname(file), kernel) : kernel
  const wanted = flavour === null || flavour === PLAIN ? {} : { flavour }
  try {
    const spec = parseKernelSpec(text, wanted)
    if (flavour === null || spec.flavour === flavour) return spec
    throw usageError(
      `kernel "${kernel}" names the flavour ${spec.flavour} itself`,
      'Leave it to flavours, and leave out with exclude what is not to be run.',
    )
  } catch (error) {
    if (!(error instanceof GmemError)) throw error
    throw usageError(`${nameOf(file)}: ${field}: ${error.message}`, error.hint ?? undefined)
  }
}

/** `7.3-debug`, `7.3 kvm_amd.npt=0`, `~/linux tcg`: the accelerator only where there are several. */
function cellName({ kernel, flavour, parameters, accelerator }: Place, config: MatrixConfig): string {
  const image = flavour === null || flavour === PLAIN ? kernel : `${kernel}-${flavour}`
  const accelerators = config.accelerators ?? []
  return [image, parameters, accelerators.length > 1 ? accelerator : '']
    .filter((part) => part !== '')
    .join(' ')
}

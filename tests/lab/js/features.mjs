// SPDX-License-Identifier: Apache-2.0
// What the programs beside this file share: features are run one after the other and reported, as in
// ../features.py.

/** The feature is not there in this version or this mode. */
export class Absent extends Error {}

/** Run each function of `features` after "create", without which none can; a JSON line for each is
 * printed. The program ends with them. */
export async function runFeatures(features) {
  let failed = false
  let created = false
  for (const [feature, body] of Object.entries(features)) {
    const line = { feature }
    const start = Date.now()
    try {
      if (!created && feature !== 'create') throw new Error('there is no sandbox')
      await body()
      created = true
    } catch (e) {
      if (e instanceof Absent) line.absent = e.message
      else {
        failed = true
        line.failed = `${e.name}: ${e.message}`.slice(0, 600)
        console.error(feature, e)
      }
    }
    line.seconds = (Date.now() - start) / 1000
    console.log(JSON.stringify(line))
  }
  process.exit(failed ? 1 : 0)
}

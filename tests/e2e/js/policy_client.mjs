// SPDX-License-Identifier: Apache-2.0
// policy_client.py with the JavaScript SDK.
import { text } from 'node:stream/consumers'
import { Sandbox, SandboxError } from 'e2b'

const { probe, lanes } = JSON.parse(await text(process.stdin))

function optionsOf(group) {
  const network = {}
  if (group.network.allow_out) network.allowOut = group.network.allow_out
  if (group.network.deny_out) network.denyOut = group.network.deny_out
  const access = group.internet === null ? {} : { allowInternetAccess: group.internet }
  return { network, access }
}

async function setRules(group, sandbox) {
  const { network, access } = optionsOf(group)
  if (sandbox) {
    await sandbox.updateNetwork({ ...network, ...access })
    return sandbox
  }
  const made = await Sandbox.create({ timeoutMs: 300_000, network, ...access })
  await made.commands.run(probe)
  return made
}

async function runLane(groups) {
  const said = []
  let sandbox
  try {
    for (const group of groups) {
      if (group.create) {
        await sandbox?.kill()
        sandbox = undefined
      }
      try {
        sandbox = await setRules(group, sandbox)
      } catch (e) {
        if (!(e instanceof SandboxError)) throw e
        said.push({ refused: e.message })
        continue
      }
      const done = await sandbox.commands.run(group.order, { timeoutMs: 100_000 })
      said.push(JSON.parse(done.stdout))
    }
  } finally {
    await sandbox?.kill()
  }
  return said
}

console.log(JSON.stringify(await Promise.all(lanes.map(runLane))))

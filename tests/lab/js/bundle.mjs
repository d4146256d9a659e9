// SPDX-License-Identifier: Apache-2.0
// `node bundle.mjs IN OUT`: one script for a browser, as a web project's bundler makes it. What Node.js
// alone has is empty in it: the SDK does not use it in a browser.
import { builtinModules } from 'node:module'
import { build } from 'esbuild'

const onlyInNode = {
  name: 'only-in-node',
  setup({ onLoad, onResolve }) {
    const filter = new RegExp(`^(node:.*|${builtinModules.join('|').replaceAll('/', '\\/')})$`)
    onResolve({ filter }, ({ path }) => ({ path, namespace: 'empty' }))
    onLoad({ filter: /.*/, namespace: 'empty' }, () => ({ contents: 'module.exports = {}' }))
  },
}

await build({
  entryPoints: [process.argv[2]],
  outfile: process.argv[3],
  bundle: true,
  format: 'esm',
  platform: 'browser',
  logLevel: 'error',
  plugins: [onlyInNode],
})

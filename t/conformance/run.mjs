// run.mjs SUITE OUT CHUNK BASE [BASE ...]
//
// Runs http-cache-tests, unpacked in the folder SUITE, against the caches at
// the BASE URLs, and writes what came out of each test to the file OUT.  With
// several caches the requests of a test go to them in turn: to the first, to
// the second, and so on.  CHUNK tests are run at the same time, as many of
// them wait for seconds between their requests.

import fs from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [suite, out, chunk, ...bases] = process.argv.slice(2)

const load = name => import(pathToFileURL(`${suite}/${name}`))
const fetch = createRequire(`${suite}/client/runner.mjs`)('node-fetch')

const { runTests, getResults } = await load('client/runner.mjs')
const tests = [
  ...(await load('tests/index.mjs')).default,
  (await load('tests/surrogate-control.mjs')).default
]

// A test is told by the UUID in its URLs.  Its set-up and its protocol, which
// are no requests of the test, are made where they have no part in the turn.

const base = 'http://suite.invalid'
const turns = new Map()

function inTurn (url, init) {
  const path = url.slice(base.length)
  const [, kind, uuid] = path.split(/[/?]/)
  let turn = 0

  if (kind === 'test') {
    turn = turns.get(uuid) ?? 0
    turns.set(uuid, turn + 1)
  }

  return fetch(bases[turn % bases.length] + path, init)
}

await runTests(tests, inTurn, false, base, Number(chunk))

const results = getResults()
const rows = []

for (const group of tests) {
  for (const test of group.tests) {
    if (test.browser_only) continue

    rows.push({
      id: test.id,
      kind: test.kind ?? 'required',
      group: group.name,
      name: test.name,
      depends: test.depends_on ?? [],
      result: results[test.id] ?? null
    })
  }
}

fs.writeFileSync(out, JSON.stringify(rows, null, 1) + '\n')

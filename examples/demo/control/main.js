// All of the demo: Redis behind a cable, three pods, the front door, the ledger. Ended by SIGTERM, or by the end of
// its stdin: then its owner is gone.

import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { buttons, Refused } from './buttons.js';
import { Cable } from './cable.js';
import { within } from './child.js';
import { Front } from './front.js';
import { Ledger } from './ledger.js';
import { Pod } from './pod.js';
import { Redis } from './redis.js';

const CUT_MS = 5_000;
// Until a first visitor is served.
const SERVE_MS = 20_000;
const [program, run] = process.argv.slice(2);
process.chdir(run);

const tell = (text) => console.log(`  ${new Date().toTimeString().slice(0, 8)}  ${text.trimEnd()}`);
const token = randomBytes(16).toString('hex');
const redis = new Redis(tell);
const cable = new Cable(redis.socket);
const pods = [];
const front = new Front(() => pods.flatMap((pod) => pod.port ?? []), buttons({
  token,
  tell,
  state: () => ({
    ...ledger.book.totals(),
    cutForMs: cable.cutForMs,
    pods: pods.map(({ name, port, starts }) => ({ pod: name, runs: port !== undefined, starts })),
  }),
  actions: {
    kill: (form) => {
      const pod = pods.find(({ name }) => name === form.get('pod'));
      if (pod === undefined) throw new Refused('There is no such pod.');
      pod.kill();
    },
    cut: () => cable.cut(CUT_MS),
    wipe: () => redis.wipe(),
  },
}));
let ledger;

async function start() {
  const wanted = process.env.DEMO_PORT || '8080';
  await front.listen(wanted).catch((error) => {
    throw new Error(`127.0.0.1:${wanted}: ${error.message}; DEMO_PORT=… chooses another port, 0 a free one`);
  });
  ledger = new Ledger(front.port);
  await redis.start();
  await cable.listen();
  const app = { DEMO_CONTROL: `http://127.0.0.1:${front.port}`, DEMO_CONTROL_TOKEN: token };
  for (const n of [1, 2, 3]) pods.push(new Pod({ name: `app-${n}`, program, redisPort: cable.port, app, tell }));
  await Promise.all(pods.map((pod) => pod.start()));
  ledger.start().catch(fail);
  await within(SERVE_MS, pods[0].sidecar, ledger.begun);
}

function table() {
  console.log(`\nThe demo:  http://127.0.0.1:${front.port}\n`);
  for (const { name, port, address, server, sidecar } of pods) {
    console.log(`  ${name}  http://127.0.0.1:${port}  process ${server.pid}, its sidecar ${address} process ${sidecar.pid}`);
  }
  console.log(`  redis  127.0.0.1:${cable.port}  process ${redis.child.pid}\n`);
  console.log(`Next: open the demo, then kill a pod there, or here (kill ${pods[2].server.pid}): the count goes on.`);
  console.log('Ctrl-C stops everything and leaves nothing.');
}

// Requests first, then those who serve them, then the data: the order in which a pod stops.
let stopping;
function stop(code) {
  stopping ??= (async () => {
    ledger?.stop();
    await front.stop();
    await Promise.all(pods.map((pod) => pod.stop()));
    cable.stop();
    await redis.stop();
    process.exit(code);
  })();
}

function fail(error) {
  if (stopping !== undefined) return;
  console.error(`make demo: ${error.message}`);
  stop(1);
}

process.on('SIGTERM', () => stop(0));
process.stdin.on('close', () => stop(0)).resume();
process.on('uncaughtException', fail);
process.on('exit', () => rmSync(run, { recursive: true, force: true }));
start().then(() => { if (stopping === undefined) table(); }, fail);

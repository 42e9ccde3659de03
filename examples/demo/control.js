// What `make demo` runs after its checks and its build: the owner of all that it starts.
//
//   node control.js SIDECAR        DEMO_PORT: the address' port, default 8080; 0 takes a free one
//
// The work is done by control/main.js, in a process group of its own: Ctrl-C reaches only this process, which asks it
// to end what it started in the right order. However that ends, and however this process does, the group ends too.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

// All that is there to be ended has deadlines of its own; this is for when they are not kept.
const STOP_MS = 25_000;

const sidecar = resolve(process.argv[2] ?? '');
const main = fileURLToPath(new URL('control/main.js', import.meta.url));
const run = mkdtempSync(join(tmpdir(), 'hyperpage-demo.'));
// It reads the other end of its stdin: when we are gone, killed too, it notices and ends by itself.
const work = spawn(process.execPath, [main, sidecar, run], { detached: true, stdio: ['pipe', 'inherit', 'inherit'] });
let stopping = false;

process.on('exit', () => {
  signalGroup('SIGKILL');
  rmSync(run, { recursive: true, force: true });
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    console.log('\nstopping');
    work.kill('SIGTERM');
    setTimeout(() => {
      console.error(`make demo: not all had ended after ${STOP_MS / 1000} s; ended by force`);
      process.exit(1);
    }, STOP_MS);
  });
}

work.on('error', (error) => {
  console.error(`make demo: ${error.message}`);
  process.exit(1);
});
work.on('exit', (code, signal) => {
  if (code !== 0 && code !== 1) console.error(`make demo: ended by itself (${signal ?? code}); all that it had started is ended`);
  process.exit(stopping ? 0 : code || 1);
});
// A terminal that is gone takes nobody's words.
for (const stream of [process.stdout, process.stderr, work.stdin]) stream.on('error', () => {});

/** A group lives as long as one of its processes does. */
function signalGroup(signal) {
  try {
    if (work.pid !== undefined) process.kill(-work.pid, signal);
  } catch {
    // Nobody is left.
  }
}

// A process that we started: its output as lines, its end as a promise, and no way to outlive `stop`.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const LAST_LINES = 12;
const LINE_CHARS = 400;

export class Child {
  constructor(name, command, args, env = {}) {
    this.name = name;
    this.last = [];
    this.waiting = new Set();
    this.process = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.ended = new Promise((resolve) => {
      this.process.once('error', (error) => { this.heard(error.message); resolve(error.message); });
      this.process.once('exit', (code, signal) => resolve(signal ?? `code ${code}`));
    }).then((how) => { this.how = how; return how; });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.heard(line));
    }
  }

  get pid() { return this.process.pid; }

  get running() { return this.how === undefined; }

  heard(line) {
    this.last.push(line.slice(0, LINE_CHARS));
    if (this.last.length > LAST_LINES) this.last.shift();
    for (const wait of this.waiting) wait(line);
  }

  /** The value of a field in the first line of JSON that has it. */
  field(name, withinMs) {
    return within(withinMs, this, new Promise((resolve, reject) => {
      this.waiting.add((line) => {
        const value = parsed(line)?.[name] ?? parsed(line)?.fields?.[name];
        if (value !== undefined) resolve(value);
      });
      this.ended.then(() => reject(this.failed('ended before it was ready')));
    })).finally(() => this.waiting.clear());
  }

  failed(what) {
    const words = this.last.map((line) => `  ${line}\n`).join('');
    return new Error(`${this.name} ${what}; its last words:\n${words || '  (none)\n'}`);
  }

  signal(name) {
    if (this.running) this.process.kill(name);
  }

  /** Asks it to end, and makes it when the time is over. */
  async stop(withinMs) {
    this.signal('SIGTERM');
    const force = setTimeout(() => this.signal('SIGKILL'), withinMs);
    await this.ended;
    clearTimeout(force);
  }
}

/** Fails with the child's last words when the time is over. */
export function within(ms, child, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(child.failed(`was not ready within ${ms / 1000} s`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function parsed(line) {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

// Tells the sidecar what this app has applied: only the last, which stands for all before it, one request at a time.

import { call } from './sidecar.js';

const AGAIN_MS = 200;

let stream;
let applied;
let said;
let busy = false;

/** What was applied of another stream was said there, or is nobody's business any more. */
export function begin(number) {
  stream = number;
  applied = undefined;
  said = undefined;
}

export async function acknowledge(id) {
  applied = id;
  if (busy) return;
  busy = true;
  while (stream !== undefined && applied !== said) {
    const [to, last] = [stream, applied];
    try {
      await call('POST', '/v1/events/acks', { headers: { 'Content-Type': 'application/json' }, body: { stream: to, id: last } });
      if (to === stream) said = last;
    } catch {
      await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS).unref(); });
    }
  }
  busy = false;
}

// What this app tells the others, and how one sees that it arrives: each app that hears a message of the demo says so,
// in a message of low priority that nobody answers.

import { cached } from './cache.js';
import { call } from './sidecar.js';

const SOURCE = 'demo';
const KEY = 'greeting';
const WAIT_MS = 1_500;

const KINDS = {
  broadcast: () => send('/v1/messages', { type: 'broadcast', payload: { source: SOURCE, text: 'hello, all' } }),
  invalidate: () => send(`/v1/cache/invalidate?wait=applied&timeoutMs=${WAIT_MS}`, { keys: [KEY] }),
};

export const kinds = Object.keys(KINDS);

/** When this pod made what it keeps, by its own clock; nothing but the demo of a cache. */
export const greetedAt = () => cached(KEY, () => Date.now());

/** Tells all pods; the status of the sidecar, and its answer in words. */
export async function tell(kind) {
  const began = Date.now();
  const { status, body } = await KINDS[kind]();
  if (status >= 300) return { status, body: { error: body?.detail ?? body?.title ?? 'the sidecar refused it' } };
  return { status, body: { id: body.id, words: words(status, body, Date.now() - began) } };
}

function words(status, { processes, laggards = [], reason }, ms) {
  if (status === 200) return processes === 1 ? `The one pod there is has applied it, after ${ms} ms.` : `All ${processes} pods have applied it, after ${ms} ms.`;
  if (status !== 207) return 'All pods are told.';
  const names = [...new Set(laggards.map(({ pod }) => pod))].sort().join(', ');
  const late = laggards.length === 0 ? [] : [`Not answered within ${WAIT_MS / 1_000} s: ${names}. Whoever is not named has applied it.`];
  return [...late, ...(reason === undefined ? [] : [`${reason}.`])].join(' ');
}

export function answerArrival({ name, at, data }) {
  if (name !== 'message' || data.unauthenticated || data.payload?.arrived) return;
  const ours = data.payload?.source === SOURCE || (data.type === 'cache_invalidate' && data.payload?.keys?.includes?.(KEY));
  if (!ours) return;
  const payload = { source: SOURCE, arrived: data.id, afterMs: Math.max(0, at - data.timestamp) };
  // One that is lost is a pod that does not show up beside the message.
  send('/v1/messages', { type: 'broadcast', payload, priority: 'low' }).catch(() => {});
}

function send(path, body) {
  return call('POST', path, { headers: { 'Content-Type': 'application/json' }, body });
}

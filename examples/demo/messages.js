// What this app tells the others, and how one sees that it arrives: each app that hears a message of the demo says so,
// in a message of low priority that nobody answers.

import { call } from './sidecar.js';

const SOURCE = 'demo';

const KINDS = {
  broadcast: () => ({ type: 'broadcast', payload: { source: SOURCE, text: 'hello, all' } }),
  invalidate: () => ({ type: 'cache_invalidate', payload: { source: SOURCE, keys: ['greeting'] }, priority: 'high' }),
};

export const kinds = Object.keys(KINDS);

/** Tells all pods; the status and the words of the sidecar. */
export async function tell(kind) {
  const { status, body } = await send(KINDS[kind]());
  return { status, body: status < 300 ? { id: body.id } : { error: body?.detail ?? body?.title ?? 'the sidecar refused it' } };
}

export function answerArrival({ name, at, data }) {
  if (name !== 'message' || data.unauthenticated || data.payload?.source !== SOURCE || data.payload.arrived) return;
  const payload = { source: SOURCE, arrived: data.id, afterMs: Math.max(0, at - data.timestamp) };
  // One that is lost is a pod that does not show up beside the message.
  send({ type: 'broadcast', payload, priority: 'low' }).catch(() => {});
}

function send(message) {
  return call('POST', '/v1/messages', { headers: { 'Content-Type': 'application/json' }, body: message });
}

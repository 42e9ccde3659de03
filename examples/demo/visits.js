// One visitor, one session, one counter that never loses a visit.
//
// Reading a number, adding one and writing it back loses visits when two requests overlap. Here every write
// names the version it was computed from (If-Match); when another pod was faster the sidecar answers 412 and we
// compute again. Visits that arrive at this pod meanwhile join the next write, so contention is one per pod.

import { call, Unavailable } from './sidecar.js';

const MAX_ROUNDS = 40;
const MAX_WAITING = 1_024;

/** Visits that wait for the write in flight, by session id. An entry lives as long as its writer runs. */
const waiting = new Map();

/** Counts one visit. Resolves with the visitor as seen right after it. */
export async function visit(id) {
  const known = id ?? (await open());
  const counted = await join(known);
  // The cookie may name a session that has expired or was deleted: then the visitor is new.
  return counted ?? (await join(await open())) ?? gone();
}

/** The visitor without counting, or undefined when there is no such session. */
export async function look(id) {
  const found = id === undefined ? undefined : await read(id);
  if (found === undefined) return undefined;
  const visitor = seen(id, found.document, Number(found.document.visits) || 0);
  return found.staleMs === undefined ? visitor : { ...visitor, staleMs: found.staleMs };
}

async function open() {
  const { status, headers } = await call('POST', '/v1/sessions', {
    headers: { 'Content-Type': 'application/json' },
    body: { visits: 0 },
  });
  const id = headers.location?.split('/').pop();
  if (status !== 201 || !id) throw new Error(`the sidecar opened no session: ${status}`);
  return id;
}

function join(id) {
  return new Promise((resolve, reject) => {
    const queue = waiting.get(id);
    if (queue === undefined) {
      waiting.set(id, [{ resolve, reject }]);
      drain(id);
    } else if (queue.length < MAX_WAITING) {
      queue.push({ resolve, reject });
    } else {
      reject(new Unavailable('too many visits at once'));
    }
  });
}

/** Writes until nobody waits for this session. Its own errors go to the visitors it was writing for. */
async function drain(id) {
  for (;;) {
    const batch = waiting.get(id);
    if (batch.length === 0) {
      waiting.delete(id);
      return;
    }
    waiting.set(id, []);
    try {
      const last = await add(id, batch.length);
      batch.forEach(({ resolve }, i) => resolve(last && { ...last, visits: last.visits - batch.length + 1 + i }));
    } catch (error) {
      batch.forEach(({ reject }) => reject(error));
    }
  }
}

/** Adds `count` visits by compare-and-set. Undefined when the session does not exist. */
async function add(id, count) {
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const found = await read(id);
    if (found === undefined) return undefined;
    const visits = (Number(found.document.visits) || 0) + count;
    const { status } = await call('PATCH', `/v1/sessions/${id}`, {
      headers: { 'Content-Type': 'application/merge-patch+json', 'If-Match': found.etag },
      body: { visits },
    });
    if (status >= 200 && status < 300) return seen(id, found.document, visits);
    if (status !== 412) throw new Error(`the sidecar refused a visit: ${status}`);
    // Somebody else was faster. A little chance keeps two pods from meeting again in step.
    await new Promise((resolve) => { setTimeout(resolve, Math.random() * Math.min(round, 8)); });
  }
  throw new Unavailable('too many pods write this session at once');
}

async function read(id) {
  const { status, headers, body } = await call('GET', `/v1/sessions/${id}`);
  if (status === 404) return undefined;
  if (status !== 200 || headers.etag === undefined || body === undefined) throw new Error(`the sidecar did not read a session: ${status}`);
  const staleMs = headers['x-hyperpage-stale-ms'];
  return { document: body, etag: headers.etag, ...(staleMs && { staleMs: Number(staleMs) }) };
}

function seen(sessionId, document, visits) {
  const created = Date.parse(document.metadata?.created);
  const ageSeconds = Number.isNaN(created) ? 0 : Math.max(0, Math.floor((Date.now() - created) / 1000));
  return { sessionId, visits, ageSeconds };
}

function gone() {
  throw new Unavailable('the session was removed while the visit was counted');
}

// All that this pod hears from the others: one stream of events from the sidecar, each applied and acknowledged, the
// last of them in a ring, and as many browsers as look on. A browser has no queue here: one that does not read is let
// go, and comes again.

import { acknowledge, begin } from './acks.js';
import { drop, lease } from './cache.js';
import { listen } from './sidecar.js';
import { event, Reader } from './sse.js';
import { answerArrival } from './messages.js';

const TOLD = ['message', 'gap', 'resync'];
const KEPT = 100;
const SHOWN = 20;
const MAX_BROWSERS = 100;
const MAX_UNREAD_BYTES = 128 * 1024;
// The sidecar says something every five seconds.
const SILENCE_MS = 12_000;
const AGAIN_MS = 100;
const AGAIN_MAX_MS = 2_000;
const COMMENT_MS = 10_000;

const ring = [];
const browsers = new Set();
let first; // the place after which all is in the ring
let last; // the id of the last event that has one
let stopped = false;

/** The newest, for a page that is made now. */
export function recent() {
  return ring.slice(-SHOWN);
}

/** For ever: opens the stream again, where it ended, until the process stops. */
export async function follow() {
  for (let failed = 0; !stopped;) {
    const heard = await once();
    failed = heard ? 0 : failed + 1;
    await new Promise((resolve) => { setTimeout(resolve, Math.min(AGAIN_MS * 2 ** failed, AGAIN_MAX_MS)).unref(); });
  }
}

/** One stream to its end; whether anything came. */
async function once() {
  let heard = false;
  try {
    const reader = new Reader();
    await listen('/v1/events?acks=true', last === undefined ? {} : { 'Last-Event-ID': last }, SILENCE_MS, (text) => {
      for (const { id, name, data } of reader.push(text)) {
        heard = true;
        if (name === 'hello') begin(JSON.parse(data).stream);
        if (name === 'lease') lease(JSON.parse(data));
        // Pods and leaders come by here, too: the page asks for them.
        const news = TOLD.includes(name) && data !== undefined;
        // An id alone is the place of what is not for us.
        if (id !== undefined && (news || data === undefined || name === 'hello')) {
          last = id;
          if (first === undefined || name === 'resync') first = id;
        }
        if (news) take({ id, name, at: Date.now(), data: JSON.parse(data) ?? {} });
      }
    });
  } catch {
    // It has ended; nothing is lost by that, or the sidecar says so when we come again.
  }
  begin(undefined);
  return heard;
}

function take(entry) {
  drop(entry);
  acknowledge(entry.id);
  ring.push(entry);
  if (ring.length > KEPT) first = ring.shift().id;
  for (const browser of browsers) send(browser, entry);
  answerArrival(entry);
}

function send(res, entry) {
  res.write(event({ id: entry.id, name: 'entry', data: entry }));
  if (res.writableLength > MAX_UNREAD_BYTES) res.destroy();
}

/** What came after a place, which another pod may have named: not every message is for all. Where that is not known, this
 * is said. */
function since(lastId) {
  if (!lastId) return recent();
  const known = after(first, lastId) >= 0 && after(lastId, last) >= 0;
  if (!known) return [{ name: 'missed', at: Date.now(), data: {} }, ...recent()];
  return ring.filter(({ id }) => after(lastId, id) > 0);
}

/** By how many messages; not a number where that has no answer. */
function after(one, other) {
  const [[n, from], [m, to]] = [one, other].map((id) => String(id).split('-').map(Number));
  return n === m ? to - from : NaN;
}

/** Streams to a browser what it has not had. */
export function stream(res, lastId) {
  if (stopped || browsers.size >= MAX_BROWSERS) return false;
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' });
  res.write('retry: 1000\n\n');
  for (const entry of since(lastId)) send(res, entry);
  const comment = setInterval(() => res.write(':\n\n'), COMMENT_MS);
  browsers.add(res);
  res.once('close', () => {
    clearInterval(comment);
    browsers.delete(res);
  });
  return true;
}

export function stop() {
  stopped = true;
  for (const browser of browsers) browser.end();
}

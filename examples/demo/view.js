// What the page shows, as one value: from the sidecar beside us and, where there is one, from whoever runs the demo.

import http from 'node:http';
import { greetedAt } from './messages.js';
import { call, collect, Unavailable } from './sidecar.js';
import { look } from './visits.js';

const CONTROL = process.env.DEMO_CONTROL;
const TOKEN = process.env.DEMO_CONTROL_TOKEN;
const CONTROL_MS = 500;

/** Who is there and who leads; null where pods do not coordinate, or nothing is known yet. */
export async function cluster() {
  try {
    const [pods, leader] = await Promise.all([call('GET', '/v1/pods'), call('GET', '/v1/leader')]);
    if (pods.status !== 200 || leader.status !== 200) return null;
    const staleMs = Number(pods.headers['x-hyperpage-stale-ms'] ?? 0);
    return { pods: pods.body.pods.map(({ pod, ready, ageMs }) => ({ pod, ready, ageMs })), staleMs, leader: leader.body };
  } catch (error) {
    if (error instanceof Unavailable) return null;
    throw error;
  }
}

/** The buttons' token and the ledger; null in Kubernetes, and under a name that is not this machine's. */
export function faults(host = '') {
  if (CONTROL === undefined) return null;
  return new Promise((resolve) => {
    const request = http.get(`${CONTROL}/control/ledger`, { headers: { host }, timeout: CONTROL_MS }, (response) => {
      collect(response).then((text) => {
        resolve(response.statusCode === 200 ? { token: TOKEN, ledger: JSON.parse(text) } : null);
      }).catch(() => resolve(null));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(null));
  });
}

/** For the page's script: always an answer, whatever the store does. */
export async function view(pod, id) {
  const [visitor, seen] = await Promise.all([visitorOf(id), cluster()]);
  return { pod, ...visitor, cluster: seen, greetingAgeMs: Date.now() - greetedAt() };
}

async function visitorOf(id) {
  try {
    const visitor = await look(id);
    return { visitor: visitor ?? null, problem: visitor === undefined ? 'ended' : null };
  } catch (error) {
    if (error instanceof Unavailable) return { visitor: null, problem: 'store' };
    throw error;
  }
}

// Keeps the page fresh: asks what there is to see, hears what pods tell each other, and sends forms without reloading.

import { age, feedRows, leaderLine, ledgerFigures, ledgerLine, podRows } from './render.js';

const KEPT = 60;
const VIEW_MS = 1_000;
const LEDGER_MS = 500;
const ANSWER_MS = 5_000;

const at = (id) => document.getElementById(id);
const answers = {};
const made = {};
let view = null;
let ledger = null;
let entries = [];

function notice(text) {
  at('notice').textContent = text;
  at('notice').hidden = text === '';
}

/** What became of what this page told all pods. */
function told(text) {
  if (at('told')) at('told').textContent = text;
}

function showVisitor({ pod, visits, ageSeconds, sessionId }) {
  at('pod').textContent = pod;
  at('visits').textContent = visits;
  at('age').dataset.seconds = ageSeconds;
  at('session').textContent = sessionId;
}

function showPods() {
  if (view === null) return;
  at('leader').innerHTML = leaderLine(view.cluster);
  const list = at('pods');
  const rows = podRows({ ...view, ledger, answers, made });
  for (const { name, state, info } of rows) {
    const row = [...list.children].find((li) => li.dataset.pod === name) ?? added(list, name);
    row.dataset.state = state;
    row.querySelector('div').innerHTML = info;
  }
  for (const row of [...list.children]) if (!rows.some(({ name }) => name === row.dataset.pod)) row.remove();
}

/** A pod that was not there when the page was made; its button is made as those of the others are. */
function added(list, name) {
  const row = document.createElement('li');
  row.dataset.pod = name;
  row.append(document.createElement('div'));
  const form = list.querySelector('form')?.cloneNode(true);
  if (form) {
    form.elements.pod.value = name;
    row.append(form);
  }
  const after = [...list.children].find((li) => li.dataset.pod > name);
  list.insertBefore(row, after ?? null);
  return row;
}

function showLedger() {
  at('figures').innerHTML = ledgerFigures(ledger);
  at('counts').innerHTML = ledgerLine(ledger);
}

function heard(entry) {
  if (entry.id !== undefined && entries.some(({ id }) => id === entry.id)) return;
  entries = [...entries, entry].slice(-KEPT);
  at('feed').innerHTML = feedRows(entries);
}

/** What changed from one view to the next is news, too. */
function compare(before, after) {
  if (!before?.cluster || !after.cluster || !at('feed')) return;
  const names = ({ cluster }) => new Set(cluster.pods.map(({ pod }) => pod));
  const tell = (name, data) => heard({ name, at: Date.now(), data });
  const [was, is] = [names(before), names(after)];
  for (const pod of is) if (!was.has(pod)) tell('joined', { pod });
  for (const pod of was) if (!is.has(pod)) tell('left', { pod });
  const [old, leader] = [before.cluster.leader, after.cluster.leader];
  if (old.leaderId !== leader.leaderId || old.term !== leader.term) tell('leader', leader);
}

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(ANSWER_MS) });
  return { status: response.status, body: await response.json() };
}

function problem({ pod, problem: what, visitor }) {
  if (what === 'ended') return 'This session has ended. “Visit again” starts a new one.';
  if (what === 'store') return `${pod} cannot reach the session store right now. Your session is safe; trying again.`;
  if (!visitor.staleMs) return '';
  return `The store is out of reach: your session is as it was known ${Math.ceil(visitor.staleMs / 1_000)} s ago.`;
}

async function look() {
  const { body } = await ask('/view');
  answers[body.pod] = (answers[body.pod] ?? 0) + 1;
  made[body.pod] = Date.now() - body.greetingAgeMs;
  compare(view, body);
  view = body;
  if (body.visitor) showVisitor({ pod: body.pod, ...body.visitor });
  notice(problem(body));
  showPods();
}

async function send(form) {
  told('');
  if (form.closest('section').contains(at('told'))) told('Asking all pods …');
  const { status, body } = await ask(form.getAttribute('action'), {
    method: form.method,
    headers: { Accept: 'application/json' },
    body: new URLSearchParams(new FormData(form)),
  });
  told(status < 300 ? body.words ?? '' : '');
  notice(status < 300 ? '' : body.error ?? 'That did not work.');
}

async function visit() {
  const { status, body } = await ask('/visit');
  if (status === 200) showVisitor(body);
  else notice(`${body.pod} cannot reach the session store right now. Your session is safe; try again.`);
}

document.addEventListener('submit', (event) => {
  event.preventDefault();
  const form = event.target;
  (form.method === 'post' ? send(form) : visit()).catch(() => {
    told('');
    notice('No pod answers right now; try again.');
  });
});

function every(ms, step, failed) {
  const again = async () => {
    if (!document.hidden) await step().catch(failed);
    setTimeout(again, ms);
  };
  again();
}

every(VIEW_MS, look, () => notice('No pod answers right now; trying again.'));
if (at('ledger')) {
  every(LEDGER_MS, async () => {
    const { status, body } = await ask('/control/ledger');
    if (status !== 200) return;
    ledger = body;
    showLedger();
    showPods();
  }, () => {});
}
setInterval(() => {
  const seconds = Number(at('age').dataset.seconds) + 1;
  at('age').dataset.seconds = seconds;
  at('age').textContent = age(seconds);
}, 1_000);

// The list begins anew: the stream tells the last that happened first.
function follow() {
  const events = new EventSource('/events');
  events.addEventListener('entry', ({ data }) => heard(JSON.parse(data)));
  // The browser comes again by itself, unless it was refused.
  events.addEventListener('error', () => { if (events.readyState === EventSource.CLOSED) setTimeout(follow, 2_000); });
}
if (at('feed')) follow();

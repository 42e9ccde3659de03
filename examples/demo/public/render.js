// From values to HTML, for the server that makes the page and for the script that keeps it fresh. Everything that
// comes from elsewhere is escaped here.

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
export const escape = (text) => String(text).replace(/[&<>"']/g, (char) => ESCAPES[char]);

export function age(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds} s`;
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const ms = (value) => (value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(1)} s`);
const times = (count) => (count === 1 ? 'once' : `${number(count)} times`);
const number = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, '\u202f');

/** One row for each pod that is known here or there: { name, state, info }. `made`: when it made what it keeps. */
export function podRows({ pod: answering, cluster, ledger, answers = {}, made = {} }) {
  const known = new Map((cluster?.pods ?? []).map((row) => [row.pod, row]));
  const ended = new Set((ledger?.pods ?? []).filter(({ runs }) => !runs).map(({ pod }) => pod));
  const names = new Set([...known.keys(), ...(ledger?.pods ?? []).map(({ pod }) => pod), answering, ...Object.keys(answers)]);
  return [...names].sort().map((name) => {
    const row = known.get(name);
    const state = ended.has(name) ? 'ended' : row === undefined ? 'unknown' : row.ready ? 'ready' : 'unready';
    const facts = [];
    if (state === 'ended') facts.push('ended; starts again');
    else if (row !== undefined) facts.push(`${row.ready ? 'ready' : 'not ready'}, heard ${ms(row.ageMs)} ago`);
    const count = answers[name] ?? (name === answering ? 1 : 0);
    if (count > 0) facts.push(`answered you ${times(count)}`);
    if (state !== 'ended' && made[name] !== undefined) facts.push(`keeps a greeting for ${age(Math.max(0, Math.floor((Date.now() - made[name]) / 1_000)))}`);
    const leads = cluster?.leader.leaderId === name ? ' <span class="badge">leads</span>' : '';
    return { name, state, info: `<strong>${escape(name)}</strong>${leads} <small>${escape(facts.join(' · '))}</small>` };
  });
}

export function leaderLine(cluster) {
  if (!cluster) return 'These pods do not coordinate, or know nothing of each other yet.';
  const stale = cluster.staleMs > 0 ? ` The list is as it was known ${ms(cluster.staleMs)} ago.` : '';
  const { leaderId, term } = cluster.leader;
  if (leaderId === null) return `Nobody leads right now; the last term was ${escape(term)}.${stale}`;
  return `<strong>${escape(leaderId)}</strong> leads in term <span class="number">${escape(term)}</span>.${stale}`;
}

export function ledgerFigures({ acknowledged, lost, staleMaxMs, leader }) {
  const figure = (name, value, why, bad = false) => (
    `<div><dt>${name}</dt><dd${bad ? ' class="bad"' : ''}>${value}</dd><dd class="why">${why}</dd></div>`
  );
  return figure('Acknowledged', number(acknowledged), 'writes that Redis had')
    + figure('Lost', number(lost), 'of these, not found again', lost > 0)
    + figure('Stale max', ms(staleMaxMs), 'oldest read, marked so')
    + figure('Leader gap', ms(leader.gapMaxMs), 'longest time without one');
}

export function ledgerLine({ readBack, journaled, applied, refused, unknown, staleReads, leader, cutForMs }) {
  const cut = cutForMs > 0 ? `<strong>Redis is cut off for ${ms(cutForMs)} more.</strong> ` : '';
  return `${cut}${number(readBack)} were read back. ${number(journaled)} more waited in a pod’s memory (202), `
    + `${number(applied)} of them are in Redis now. ${number(staleReads)} reads were marked stale; ${number(refused)} writes `
    + `were refused, of ${number(unknown)} nobody knows. The leader changed ${times(leader.changes)}.`;
}

/** Newest first; what a pod says of an arrival stands beside the message that arrived. */
export function feedRows(entries) {
  const arrivals = new Map();
  for (const { data } of entries) {
    const { arrived, afterMs } = data.payload ?? {};
    if (arrived === undefined) continue;
    arrivals.set(arrived, [...(arrivals.get(arrived) ?? []), { pod: data.sourcePod, afterMs }]);
  }
  const rows = entries.filter(({ data }) => data.payload?.arrived === undefined).map((entry) => {
    const at = new Date(entry.at).toTimeString().slice(0, 8);
    return `<li class="${escape(entry.name)}"><time>${at}</time><div>${said(entry)}${chips(arrivals.get(entry.data.id))}</div></li>`;
  });
  return rows.reverse().join('');
}

function chips(arrived = []) {
  const all = arrived.sort((a, b) => (a.pod < b.pod ? -1 : 1));
  const chip = ({ pod, afterMs }) => `<span class="chip">${escape(pod)} <small>${escape(ms(Number(afterMs)))}</small></span>`;
  return all.length === 0 ? '' : `<p class="chips">heard by ${all.map(chip).join(' ')}</p>`;
}

function said({ name, data }) {
  switch (name) {
    case 'message': return message(data);
    case 'gap': return `Messages ${escape(data.from)} to ${escape(data.to)} are lost (${escape(data.reason)}).`;
    case 'resync': return `${because(data.reason)}: what was derived from messages is made anew.`;
    case 'missed': return 'The pod that answers now does not know what came before: messages may be missing here.';
    case 'leader': return data.leaderId ? `<strong>${escape(data.leaderId)}</strong> leads.` : 'Nobody leads.';
    case 'joined': return `<strong>${escape(data.pod)}</strong> has joined.`;
    case 'left': return `<strong>${escape(data.pod)}</strong> has left.`;
    default: return `${escape(name)}: ${escape(JSON.stringify(data))}`;
  }
}

const because = (reason) => (reason === 'redis' ? 'Redis was replaced or emptied' : `Messages may be missing (${escape(reason)})`);

function message({ type, payload, sourcePod, target }) {
  const short = (value) => escape((typeof value === 'string' ? value : JSON.stringify(value)).slice(0, 200));
  const words = Array.isArray(payload?.keys) && type === 'cache_invalidate' ? `forget <code>${short(payload.keys.join(', '))}</code>`
    : payload?.text === undefined ? `<code>${escape(type)} ${short(payload)}</code>` : `“${short(payload.text)}”`;
  return `<strong>${escape(sourcePod)}</strong> to ${target === undefined ? 'all' : escape(target)}: ${words}`;
}

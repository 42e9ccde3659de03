// The ledger's book: what was acknowledged, and what the last reading of each session had of it. Values in, values out;
// every write has a name of its own in its session, so that no later write hides it.

// Of a session that is no longer written, this many are still read; what was found of older ones is final.
const SESSIONS = 8;
// A session takes so many writes, then the next one begins; if none can be made it goes on, up to what a document holds.
const WRITES = 150;
const MAX_WRITES = 2_000;

export class Book {
  constructor() {
    this.sessions = [];
    this.past = sums();
    this.counts = { refused: 0, unknown: 0, staleReads: 0, staleMaxMs: 0 };
    this.lead = { id: null, term: 0, lastMs: undefined, vacant: false, gapMs: 0, gapMaxMs: 0, changes: 0 };
  }

  /** The session that is written, if there is one that can be. */
  get current() {
    const session = this.sessions.at(-1);
    return session === undefined || session.gone || session.writes.size >= MAX_WRITES ? undefined : session;
  }

  get wantsAnother() { return this.current === undefined || this.current.writes.size >= WRITES; }

  opened(id) {
    this.sessions.push({ id, writes: new Map(), gone: false });
    while (this.sessions.length > SESSIONS) add(this.past, this.sum(this.sessions.shift()));
  }

  /** A 2xx: `redis` has it, or it waits in a pod's memory (`local`). */
  acknowledged(session, name, durability) {
    session.writes.set(name, { durability, at: session.writes.size, seen: false, missing: false });
  }

  /** 503 that says that nothing was changed, or that nobody knows. */
  refused(known) {
    if (known) this.counts.refused += 1; else this.counts.unknown += 1;
  }

  /** What a fresh read found that was asked when `asked` writes were acknowledged; `undefined` is proven absence. */
  read(session, asked, found) {
    session.gone = found === undefined;
    for (const [name, write] of session.writes) {
      if (write.at >= asked) continue;
      const there = found !== undefined && name in found;
      write.missing = !there;
      write.seen ||= there;
    }
  }

  stale(ms) {
    this.counts.staleReads += 1;
    this.counts.staleMaxMs = Math.max(this.counts.staleMaxMs, ms);
  }

  /** An answer of a pod: who leads, or nobody. What an older term says is over. */
  leads(id, term, nowMs) {
    const { lead } = this;
    if (id === null) lead.vacant = true;
    if (id === null || term < lead.term) return;
    if (lead.lastMs !== undefined && (lead.vacant || term > lead.term)) {
      lead.gapMs = nowMs - lead.lastMs;
      lead.gapMaxMs = Math.max(lead.gapMaxMs, lead.gapMs);
    }
    if (lead.id !== null && id !== lead.id) lead.changes += 1;
    Object.assign(lead, { id, term, lastMs: nowMs, vacant: false });
  }

  sum({ writes }) {
    const sum = sums();
    for (const { durability, seen, missing } of writes.values()) {
      if (durability === 'local') {
        sum.journaled += 1;
        if (seen) sum.applied += 1;
      } else {
        sum.acknowledged += 1;
        if (seen) sum.readBack += 1;
        if (missing) sum.lost += 1;
      }
    }
    return sum;
  }

  totals() {
    const sum = { ...this.past };
    for (const session of this.sessions) add(sum, this.sum(session));
    const { id, term, gapMs, gapMaxMs, changes } = this.lead;
    return { ...sum, ...this.counts, leader: { id, term, gapMs, gapMaxMs, changes } };
  }
}

function sums() {
  return { acknowledged: 0, readBack: 0, lost: 0, journaled: 0, applied: 0 };
}

function add(to, sum) {
  for (const name of Object.keys(to)) to[name] += sum[name];
}

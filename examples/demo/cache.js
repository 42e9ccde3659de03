// A cache in memory that shows nothing stale. What anybody invalidates is dropped before this is acknowledged, and nothing
// is served from it when the sidecar's lease is over: by then the others may have ceased to wait for this pod.

const kept = new Map();
let until = 0n;

export function lease({ untilMonotonicMs }) {
  until = BigInt(untilMonotonicMs);
}

/** What an event is about; everything, where nobody knows what was missed. */
export function drop({ name, data }) {
  if (name === 'message' && data.type !== 'cache_invalidate') return;
  const { keys, prefix } = (name === 'message' && data.payload) || {};
  for (const key of kept.keys()) {
    const named = Array.isArray(keys) ? keys.includes(key) : typeof prefix !== 'string' || key.startsWith(prefix);
    if (named) kept.delete(key);
  }
}

/** What is kept under this key, or what `make` gives now. */
export function cached(key, make) {
  const serves = process.hrtime.bigint() / 1_000_000n < until;
  if (!serves || !kept.has(key)) kept.set(key, make());
  return kept.get(key);
}

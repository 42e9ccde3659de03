// The page as text: complete without JavaScript; live.js only keeps it fresh.

import { age, escape, feedRows, leaderLine, ledgerFigures, ledgerLine, podRows } from './public/render.js';

const ICON = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>"
  + "<rect width='32' height='32' rx='9' fill='%23315efb'/><path d='M9 8v16M23 8v16M9 16h14' stroke='white' "
  + "stroke-width='4' stroke-linecap='round'/></svg>";

const PROMISE = 'Promised: what Redis has acknowledged is not lost while Redis keeps its data, whichever pods die and '
  + 'whatever is cut off. After a wipe the living pods put back what they still hold, and only that: what is to outlast '
  + 'Redis is a matter of its storage.';

function frame(title, main, head = '') {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="${ICON}">
<link rel="stylesheet" href="/style.css">
${head}</head>
<body>
<main>
${main}
</main>
<footer>Every number here was read through <code>localhost:4100</code>. This app has no Redis client.</footer>
</body>
</html>
`;
}

export function page(shown) {
  const { pod, sessionId, visits, ageSeconds } = shown;
  return frame('Hyperpage demo', `<header>
  <h1>One session, many pods</h1>
  <p>Reload as often as you like. Another pod may answer; the count goes on.</p>
</header>
<p class="notice" id="notice" role="status" hidden></p>
<section class="cards">
  <article><h2>Answered by</h2><p class="value pod" id="pod">${escape(pod)}</p></article>
  <article><h2>Your visits</h2><p class="value count" id="visits">${escape(visits)}</p></article>
  <article><h2>Session age</h2><p class="value" id="age" data-seconds="${escape(ageSeconds)}">${escape(age(ageSeconds))}</p></article>
</section>
<form action="/" method="get"><button id="again">Visit again</button></form>
${pods(shown)}${ledger(shown.faults)}${feed(shown)}<details>
  <summary>Your session</summary>
  <p><code id="session">${escape(sessionId)}</code></p>
  <p><a href="/api/sessions?sessionId=${escape(sessionId)}">What is stored in it</a></p>
</details>`, '<script src="/live.js" type="module"></script>\n');
}

function pods({ pod, cluster, faults, made }) {
  const rows = podRows({ pod, cluster, ledger: faults?.ledger, made });
  const which = (name) => `<input type="hidden" name="pod" value="${escape(name)}">`;
  const kill = (name) => (faults ? control(faults, 'kill', 'Kill this pod', which(name)) : '');
  const row = ({ name, state, info }) => `<li data-pod="${escape(name)}" data-state="${state}"><div>${info}</div>${kill(name)}</li>`;
  return `<section>
  <h2>Pods</h2>
  <p id="leader">${leaderLine(cluster)}</p>
  <ul id="pods" class="pods">${rows.map(row).join('')}</ul>
</section>
`;
}

function control({ token }, action, words, more = '') {
  const hidden = `<input type="hidden" name="token" value="${escape(token)}">${more}`;
  return `<form class="act" method="post" action="/control/${action}">${hidden}<button class="quiet">${words}</button></form>`;
}

/** Only where somebody runs the demo as plain processes. */
function ledger(faults) {
  if (!faults) return '';
  return `<section id="ledger">
  <h2>Ledger of a steady writer and reader</h2>
  <dl id="figures">${ledgerFigures(faults.ledger)}</dl>
  <p class="why" id="counts">${ledgerLine(faults.ledger)}</p>
  <p class="why">${PROMISE}</p>
  <div class="acts">${control(faults, 'cut', 'Cut Redis 5 s')}${control(faults, 'wipe', 'Wipe Redis')}</div>
</section>
`;
}

function feed({ cluster, entries }) {
  if (!cluster) return '';
  const act = (kind, words) => `<form class="act" method="post" action="/${kind}"><button class="quiet">${words}</button></form>`;
  return `<section>
  <h2>What the pods tell each other</h2>
  <div class="acts">${act('broadcast', 'Say hello to all pods')}${act('invalidate', 'Invalidate a cache key')}</div>
  <p class="why" id="told" role="status"></p>
  <ol id="feed" class="feed">${feedRows(entries)}</ol>
</section>
`;
}

/** Shown while the store is out of reach. It comes back by itself, with or without JavaScript. */
export function unavailablePage({ pod, retryAfter }) {
  return frame('One moment', `<header>
  <h1>One moment, please</h1>
  <p>Your session is safe, but its store does not answer right now. Nothing was counted that you did not see.</p>
</header>
<p class="notice">This page tries again in ${escape(retryAfter)} s. Answered by ${escape(pod)}.</p>
<form action="/" method="get"><button>Try again now</button></form>`,
  `<meta http-equiv="refresh" content="${escape(retryAfter)}">\n`);
}

// The page as text: complete without JavaScript; live.js only keeps it fresh.

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text) => String(text).replace(/[&<>"']/g, (char) => ESCAPES[char]);

const ICON = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>"
  + "<rect width='32' height='32' rx='9' fill='%23315efb'/><path d='M9 8v16M23 8v16M9 16h14' stroke='white' "
  + "stroke-width='4' stroke-linecap='round'/></svg>";

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

export function page({ pod, sessionId, visits, ageSeconds }) {
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
<section id="pods" hidden>
  <h2>Who answered since you opened this page</h2>
  <ul id="tally"></ul>
</section>
<details>
  <summary>Your session</summary>
  <p><code id="session">${escape(sessionId)}</code></p>
  <p><a href="/api/sessions?sessionId=${escape(sessionId)}">What is stored in it</a></p>
</details>`, '<script src="/live.js" defer></script>\n');
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

function age(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds} s`;
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

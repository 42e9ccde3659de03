// Keeps the page fresh: asks who answers now, and counts a visit without reloading.

const at = (id) => document.getElementById(id);
const answered = new Map();

function show({ pod, visits, ageSeconds, sessionId }) {
  at('notice').hidden = true;
  at('pod').textContent = pod;
  at('visits').textContent = visits;
  at('age').dataset.seconds = ageSeconds;
  at('session').textContent = sessionId;
  answered.set(pod, (answered.get(pod) ?? 0) + 1);
  at('tally').replaceChildren(...[...answered].sort().map(([name, times]) => {
    const item = document.createElement('li');
    const label = document.createElement('span');
    label.textContent = name;
    const bar = document.createElement('meter');
    bar.max = Math.max(...answered.values());
    bar.value = times;
    bar.title = `${times} answers`;
    item.append(label, bar);
    return item;
  }));
  at('pods').hidden = false;
}

function notice(text) {
  at('notice').textContent = text;
  at('notice').hidden = false;
}

async function ask(path) {
  try {
    const response = await fetch(path, { signal: AbortSignal.timeout(5000) });
    const body = await response.json();
    if (response.ok) show(body);
    else if (response.status === 404) notice('This session has ended. “Visit again” starts a new one.');
    else notice(`${body.pod} cannot reach the session store right now. Your session is safe; trying again.`);
  } catch {
    notice('No pod answers right now; trying again.');
  }
}

function tick() {
  const seconds = Number(at('age').dataset.seconds) + 1;
  at('age').dataset.seconds = seconds;
  const minutes = Math.floor(seconds / 60);
  at('age').textContent = minutes === 0 ? `${seconds} s`
    : minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

at('again').form.addEventListener('submit', (event) => {
  event.preventDefault();
  ask('/visit');
});
setInterval(tick, 1000);
setInterval(() => { if (!document.hidden) ask('/session'); }, 2000);

// An app that is busy as long as it is told to, a little at a time, so that its probes are still answered.
const http = require('node:http');
let until = 0;
setInterval(() => {
  const slice = Date.now() + 40;
  if (Date.now() < until) while (Date.now() < slice);
}, 50);
http.createServer((req, res) => {
  if (req.url.startsWith('/burn/')) until = Date.now() + Number(req.url.slice(6));
  res.end('ok');
}).listen(3000);
process.on('SIGTERM', () => process.exit(0));

// Server-sent events as text: read by `Reader`, written by `event`.

// A message is at most 64 KB; more than this without an end is none of ours.
const MAX_CHARS = 1 << 20;

/** Feed it text as it comes; it gives the events that are complete. */
export class Reader {
  constructor() {
    this.text = '';
  }

  push(chunk) {
    this.text += chunk;
    if (this.text.length > MAX_CHARS) throw new Error('an event has no end');
    const blocks = this.text.split('\n\n');
    this.text = blocks.pop();
    return blocks.map(parse);
  }
}

function parse(block) {
  const event = { name: 'message', id: undefined, data: undefined };
  for (const line of block.split('\n')) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === 'event') event.name = value;
    else if (field === 'id') event.id = value;
    else if (field === 'data') event.data = event.data === undefined ? value : `${event.data}\n${value}`;
  }
  return event;
}

export function event({ id, name, data }) {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

// node's `ws` as client and as server: node ws_peer.mjs MODULES, where MODULES has node_modules. It reads what to do as JSON on
// stdin and says how it went as lines of JSON on stdout, like peer.py.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const WebSocket = createRequire(join(resolve(process.argv[2]), 'package.json'))('ws');

const STEP_LIMIT = 15_000; // milliseconds

const say = (what) => console.log(JSON.stringify(what));

function payload({ text, times, bytes, noise }) {
  if (text !== undefined) return text.repeat(times);
  if (bytes !== undefined) return Buffer.from(Array.from({ length: bytes }, (_, index) => ((index * 7919) >> 3) & 0xff));
  let state = 12345;
  return Buffer.from(Array.from({ length: noise }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 16) & 0xff;
  }));
}

function shown(value) {
  if (typeof value !== 'string' && !Buffer.isBuffer(value)) return JSON.stringify(value);
  return `${typeof value === 'string' ? 'text' : 'binary'} of ${value.length}: ${JSON.stringify(value.toString().slice(0, 40))}`;
}

function expect(what, actual, expected) {
  const same = Buffer.isBuffer(actual) && Buffer.isBuffer(expected) ? actual.equals(expected) : actual === expected;
  assert.ok(same, `${what}: expected ${shown(expected)}, got ${shown(actual)}`);
}

// Puts what happens into a queue, so that nothing is missed between two steps.
class Socket {
  constructor(socket) {
    this.socket = socket;
    this.happened = [];
    this.waiting = () => {};
    this.inflated = null; // how many bytes of the last message were inflated, if it was
    // A client's are settled when it opens.
    this.watch(socket._extensions['permessage-deflate']);
    socket.on('open', () => this.watch(socket._extensions['permessage-deflate']));
    const happens = (event) => { this.happened.push(event); this.waiting(); };
    socket.on('message', (data, isBinary) => happens({ message: isBinary ? data : data.toString() }));
    socket.on('pong', (data) => happens({ pong: data.toString() }));
    socket.on('close', (code, reason) => happens({ closed: { code, reason: reason.toString() } }));
    socket.on('error', (error) => happens({ error }));
  }

  // Has what is compressed counted.
  watch(deflate) {
    if (deflate === undefined) return;
    const decompress = deflate.decompress.bind(deflate);
    deflate.decompress = (data, fin, done) => {
      this.inflated = (this.inflated ?? 0) + data.length;
      decompress(data, fin, done);
    };
  }

  // That number, for the message that comes next.
  async echoed(sending, message) {
    this.inflated = null;
    sending();
    expect('echo', await this.next('message'), message);
    return this.inflated;
  }

  async next(kind) {
    if (this.happened.length === 0) await new Promise((done) => { this.waiting = done; });
    const event = this.happened.shift();
    if (event.error) throw event.error;
    assert.ok(kind in event, `waited for '${kind}', got ${shown(Object.values(event)[0])}`);
    return event[kind];
  }
}

const steps = {
  async echo({ socket, next }, _kind, description) {
    const message = payload(description);
    socket.send(message);
    expect('echo', await next('message'), message);
  },
  async deflated({ socket, echoed }, _kind, description) {
    const message = payload(description);
    const [inflated, length] = [await echoed(() => socket.send(message), message), Buffer.byteLength(message)];
    assert.ok(inflated !== null, 'it did not come compressed');
    assert.ok(inflated < length, `${length} bytes came in ${inflated}`);
  },
  async undeflated({ socket, echoed }, _kind, description) {
    const message = payload(description);
    assert.equal(await echoed(() => socket.send(message), message), null, 'it came compressed');
  },
  async 'as it is'({ socket, next }, _kind, description) {
    const message = payload(description);
    socket.send(message, { compress: false });
    expect('echo', await next('message'), message);
  },
  async remembered({ socket, echoed }, text) {
    const first = await echoed(() => socket.send(text), text);
    const second = await echoed(() => socket.send(text), text);
    assert.ok(first !== null && second !== null, 'it did not come compressed');
    const ours = task.role === 'client' ? 'server' : 'client';
    const remembers = !(`${ours}_no_context_takeover` in task.deflate);
    assert.ok(remembers ? second * 3 < first : second === first, `it came in ${first} bytes, and then in ${second}`);
  },
  async many({ socket, next }, count) {
    for (let number = 0; number < count; number += 1) socket.send(`message ${number}`);
    for (let number = 0; number < count; number += 1) expect('echo', await next('message'), `message ${number}`);
  },
  async fragments({ socket, next }, kind, descriptions) {
    const parts = descriptions.map(payload);
    parts.forEach((part, index) => {
      socket.send(part, { fin: index === parts.length - 1 });
      if (index === 0) socket.ping('between');
    });
    // The pong may pass the message that is echoed, and comes before it, as it was asked for before its end.
    expect('pong', await next('pong'), 'between');
    expect('echo', await next('message'), kind === 'text' ? parts.join('') : Buffer.concat(parts));
  },
  async ping({ socket, next }, description) {
    socket.ping(payload(description));
    expect('pong', await next('pong'), payload(description));
  },
  async hold({ socket, happened }, seconds) {
    let pings = 0;
    socket.on('ping', () => { pings += 1; });
    await new Promise((done) => { setTimeout(done, seconds * 1000); });
    assert.equal(happened.length, 0, 'something happened that nobody asked for');
    assert.ok(pings > 0, 'no ping came');
  },
  async close({ socket, next }, code, reason) {
    if (code === null) socket.close();
    else socket.close(code, reason);
    expect('code of the answer', (await next('closed')).code, code ?? 1005);
  },
  async closed({ next }, code, reason) {
    assert.deepEqual(await next('closed'), { code, reason });
  },
  async drop({ socket }) {
    socket.terminate();
  },
  async dropped({ next }) {
    assert.equal((await next('closed')).code, 1006);
  },
};

async function within(limit, what, promise) {
  let timer;
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error(`${what}: waited ${limit / 1000} s for it`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function take(socket, list) {
  const tools = { socket: socket.socket, happened: socket.happened, next: (kind) => socket.next(kind), echoed: (...details) => socket.echoed(...details) };
  for (const [step, ...details] of list) await within(STEP_LIMIT, step, steps[step](tools, ...details));
  return ['close', 'closed', 'drop', 'dropped'].includes(list.at(-1)[0]);
}

async function converse(scenario, socket) {
  expect('subprotocol', socket.socket.protocol || null, scenario.chosen);
  expect('permessage-deflate', socket.socket.extensions.includes('permessage-deflate'), task.deflate !== null);
  const agreed = socket.socket._extensions['permessage-deflate']?.params;
  assert.deepEqual(agreed && { ...agreed }, task.agreed ?? undefined, 'extensions');
  if (!await take(socket, scenario.steps)) await take(socket, [['close', 1000, 'done']]);
}

async function judge(scenario, conversation) {
  try {
    await conversation();
    say({ scenario: scenario.name, error: null });
  } catch (error) {
    say({ scenario: scenario.name, error: `${error.name}: ${error.message}` });
  }
}

// The parameters of RFC 7692 §7.1 as `ws` spells them; a threshold of 0, or it sends short messages as they are.
function deflate() {
  if (task.deflate === null) return false;
  const camel = (name) => name.replaceAll(/_(\w)/g, (_, letter) => letter.toUpperCase());
  return { threshold: 0, ...Object.fromEntries(Object.entries(task.deflate).map(([name, value]) => [camel(name), value])) };
}

async function beClient() {
  for (const scenario of task.scenarios) {
    await judge(scenario, async () => {
      const socket = new WebSocket(task.url + scenario.path, scenario.offered, {
        perMessageDeflate: deflate(),
        ca: task.ca ? readFileSync(task.ca) : undefined,
        handshakeTimeout: STEP_LIMIT,
        maxPayload: 0,
      });
      const queue = new Socket(socket);
      await new Promise((done, failed) => { socket.once('open', done); socket.once('error', failed); });
      await converse(scenario, queue);
    });
  }
}

// Serves the scenario of number N at /N, until stdin ends.
async function beServer() {
  const at = (request) => task.scenarios[Number(request.url.slice(1))];
  const server = task.cert
    ? createHttpsServer({ cert: readFileSync(task.cert), key: readFileSync(task.key) })
    : createHttpServer();
  const webSockets = new WebSocket.Server({
    server,
    perMessageDeflate: deflate(),
    maxPayload: 0,
    handleProtocols: (offered, request) => [...offered].find((name) => at(request).served.includes(name)) ?? false,
  });
  webSockets.on('connection', (socket, request) => {
    const queue = new Socket(socket);
    judge(at(request), () => converse(at(request), queue));
  });
  server.listen(0, '127.0.0.1', () => say({ listening: server.address().port }));
}

const lines = createInterface({ input: process.stdin });
const task = JSON.parse(await new Promise((done) => lines.once('line', done)));
if (task.role === 'client') {
  await beClient();
  process.exit(0);
} else {
  lines.once('close', () => process.exit(0));
  await beServer();
}

// Tests the client of the rooms, rooms.js as the demo serves it, in Chromium: its connections go through a relay that cuts them.

import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';

import { check, onEnd } from '../harness.mjs';

const WRITERS = 3;
const CUTS = 20;
const EACH = 40; // messages of a writer: the demo allows 50 in 10 s

// Passes bytes on to the server at `url`, until `cut` ends what is open, each connection at whatever byte it is.
async function startRelay(url) {
  const target = new URL(url);
  const open = new Set();
  const relay = createServer((inner) => {
    const outer = connect(target.port, target.hostname);
    const pair = [inner, outer];
    open.add(pair);
    const end = () => { pair.forEach((socket) => socket.destroy()); open.delete(pair); };
    pair.forEach((socket) => socket.on('error', end).on('close', end));
    inner.pipe(outer).pipe(inner);
  });
  await new Promise((listening) => relay.listen(0, '127.0.0.1', listening));
  const cut = () => { for (const [inner] of open) inner.resetAndDestroy(); };
  onEnd(async () => { relay.close(); cut(); });
  return { url: `${target.protocol}//${target.hostname}:${relay.address().port}`, cut };
}

// In the page: writers publish, and a reader notes what it receives, all over connections that may be cut.
async function exchange({ room, writers, each, isAway }) {
  const { RoomsClient } = await import('/rooms.js');
  const url = (name) => `${location.origin.replace('http', 'ws')}/rooms?name=${name}`;
  const options = { minDelay: 5, maxDelay: 40 };
  const reader = new RoomsClient(url('reader'), options);
  const outcome = { items: [], lost: 0, joined: [], connections: 0, identities: new Set() };
  const once = (type) => new Promise((done) => reader.addEventListener(type, done, { once: true }));
  reader.addEventListener('connected', () => { outcome.connections += 1; });
  reader.addEventListener('lost', () => { outcome.lost += 1; });
  reader.addEventListener('joined', ({ detail }) => outcome.joined.push(detail.resumed));
  reader.addEventListener('item', ({ detail }) => {
    outcome.items.push(detail.data);
    outcome.identities.add(detail.from.identity);
  });
  const first = once('joined');
  reader.join(room);
  await first;
  if (isAway) reader.drop(600_000);
  await Promise.all(Array.from({ length: writers }, async (_, writer) => {
    const client = new RoomsClient(url(`writer-${writer}`), options);
    client.join(room);
    for (let message = 0; message < each; message++) {
      const { position } = await client.publish(room, `${writer}-${message}`);
      if (!position) throw new Error('a message has no position');
    }
    client.close();
  }));
  if (isAway) {
    const returned = once('joined');
    reader.reconnect();
    await returned;
  }
  const last = new Promise((done) => {
    const seen = () => { if (outcome.items.at(-1) === 'last') done(); };
    reader.addEventListener('item', seen);
  });
  await reader.publish(room, 'last');
  await last;
  reader.close();
  return { ...outcome, identities: [...outcome.identities].sort() };
}

export async function rooms(context, url) {
  const relay = await startRelay(url);
  const page = await context.newPage();
  await page.goto(`${relay.url}/`);

  await check('rooms.js: each message arrives once and in order, over connections that are cut again and again', async () => {
    // A room without members that never had a message is forgotten, and who comes back to it has a gap.
    await page.evaluate(exchange, { room: 'chat:cut', writers: 0, each: 0, isAway: false });
    let cuts = 0;
    let cutting = setTimeout(function cutSoon() {
      relay.cut();
      cuts += 1;
      // A slow machine opens no connection between two cuts: they have an end.
      if (cuts < CUTS) cutting = setTimeout(cutSoon, 20 + Math.random() * 100);
    }, 50);
    const exchanged = page.evaluate(exchange, { room: 'chat:cut', writers: WRITERS, each: EACH, isAway: false });
    const outcome = await exchanged.finally(() => clearTimeout(cutting));
    assert.equal(outcome.lost, 0);
    assert.ok(outcome.connections > 1, 'the connection was cut');
    assert.deepEqual(new Set(outcome.joined.slice(1)), new Set(['complete']));
    for (let writer = 0; writer < WRITERS; writer++) {
      const own = outcome.items.filter((item) => item.startsWith(`${writer}-`));
      assert.deepEqual(own, Array.from({ length: EACH }, (_, message) => `${writer}-${message}`));
    }
    assert.equal(outcome.items.length, WRITERS * EACH + 1);
    assert.deepEqual(outcome.identities, ['reader', 'writer-0', 'writer-1', 'writer-2']);
    console.log(`      ${outcome.connections} connections`);
  });

  // The history of the demo has 100 messages.
  await check('rooms.js: who was away for longer than the history has a gap', async () => {
    const outcome = await page.evaluate(exchange, { room: 'chat:away', writers: WRITERS, each: EACH, isAway: true });
    assert.deepEqual([outcome.joined, outcome.lost, outcome.items], [['new', 'gap'], 1, ['last']]);
  });

  await check('rooms.js: refusals are typed, and the room is forgotten', async () => {
    const outcome = await page.evaluate(async () => {
      const { RoomsClient } = await import('/rooms.js');
      const client = new RoomsClient(`${location.origin.replace('http', 'ws')}/rooms`);
      const refused = new Promise((done) => client.addEventListener('refused', ({ detail }) => done(detail.code), { once: true }));
      const unknown = client.publish('chat:none', 1).catch(({ code }) => code);
      client.join('news:today');
      const joining = await refused;
      client.join('chat:refusals');
      const line = client.publish('chat:refusals', { not: 'a line' }).catch(({ code }) => code);
      const codes = [await unknown, joining, await line, client.position('news:today')];
      client.close();
      return codes;
    });
    assert.deepEqual(outcome, ['not_joined', 'unknown_namespace', 'denied', null]);
  });
  await page.close();
}

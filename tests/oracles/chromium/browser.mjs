// The browser of the oracles, and what is in each of its pages: `oracle`, which talks over raw WebSockets.

import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { check, onEnd, within } from '../harness.mjs';

export const LIMIT = 10_000; // milliseconds that one condition may take

// A browser that takes the certificate in the file `certificate` for a good one, and collects the errors of its pages.
export async function launch(modules, out, certificate = null) {
  const { chromium } = createRequire(join(modules, 'package.json'))('playwright-core');
  const userData = await mkdtemp(join(out, 'chromium-user-data-'));
  onEnd(() => rm(userData, { recursive: true, force: true, maxRetries: 5 }));
  const trust = certificate === null ? [] : [`--ignore-certificate-errors-spki-list=${await keyHash(certificate)}`];
  const context = await chromium.launchPersistentContext(userData, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    handleSIGINT: false,
    handleSIGTERM: false,
    viewport: { width: 1280, height: 800 },
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', ...trust],
  });
  onEnd(() => within(LIMIT, 'Chromium to close', context.close()));
  context.setDefaultTimeout(LIMIT);
  const pageErrors = [];
  context.on('weberror', (event) => pageErrors.push(event.error().message));
  await context.addInitScript(installOracle, LIMIT);
  return { context, pageErrors };
}

// By its key alone: Chromium reads no file of authorities.
async function keyHash(certificate) {
  const key = new X509Certificate(await readFile(certificate)).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(key).digest('base64');
}

// The parameters that the demo agrees to by default.
export const FORGETTING = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

// Echoes of all kinds, by the page's own WebSocket, which has to agree on `extensions`.
export async function echoes(page, extensions) {
  await check(`extensions: '${extensions}'`, async () => {
    assert.equal(await page.evaluate(() => oracle.extensions('/echo')), extensions);
  });
  for (const name of await page.evaluate(() => oracle.payloads)) {
    await check(`echo: ${name}`, async () => assert.equal(await page.evaluate((it) => oracle.echo(it), name), null));
  }
  await check('echo: 1000 messages sent in a row come back in order', async () => {
    assert.equal(await page.evaluate(() => oracle.echoMany(1000)), true);
  });
  await check('echo: all of these on one connection, twice', async () => {
    assert.deepEqual(await page.evaluate(() => oracle.echoAll(2)), []);
  });
}

// ---- in the page ----

// Runs in every page before its own scripts and leaves `oracle` there.
function installOracle(limit) {
  const encoder = new TextEncoder();

  function bytes(length) {
    const block = new Uint8Array(length);
    let state = 12345;
    for (let index = 0; index < length; index += 1) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      block[index] = state >>> 16;
    }
    return block.buffer;
  }

  const mebibyte = 1 << 20;
  const payloads = {
    text: () => 'Hello, sockets',
    emoji: () => '🦀 👩‍👩‍👧‍👦 é 漢字',
    'empty text': () => '',
    'empty binary': () => new ArrayBuffer(0),
    '1 MiB of binary': () => bytes(mebibyte),
    // Characters of one to four bytes, so that frame and buffer borders fall within them.
    '1 MiB of text': () => 'aé€🦀'.repeat(104857) + 'sixsix',
    '100 KB of text that compresses': () => Array.from({ length: 2000 }, (_, index) => `the tide of line ${index} comes in again at ${index % 24} h\n`).join(''),
    '100 KB of zeros': () => new ArrayBuffer(100_000),
  };

  function same(sent, got) {
    if (typeof sent === 'string' || typeof got === 'string') return sent === got;
    const [left, right] = [new Uint8Array(sent), new Uint8Array(got)];
    return left.length === right.length && left.every((byte, index) => byte === right[index]);
  }

  function describe(payload) {
    return typeof payload === 'string' ? `text of ${encoder.encode(payload).length} bytes` : `binary of ${payload.byteLength} bytes`;
  }

  class Socket {
    constructor(path, protocols) {
      this.socket = new WebSocket(oracle.origin.replace(/^http/, 'ws') + path, protocols);
      this.socket.binaryType = 'arraybuffer';
      this.received = [];
      this.waiting = () => {};
      this.opened = false;
      this.closed = null;
      this.socket.onopen = () => { this.opened = true; this.waiting(); };
      this.socket.onmessage = ({ data }) => { this.received.push(data); this.waiting(); };
      this.socket.onclose = ({ code, reason, wasClean }) => { this.closed = { code, reason, wasClean }; this.waiting(); };
    }

    until(what, condition) {
      return new Promise((done, failed) => {
        const timer = setTimeout(() => failed(new Error(`waited ${limit} ms for ${what}`)), limit);
        this.waiting = () => {
          if (condition()) {
            clearTimeout(timer);
            done();
          } else if (this.closed) {
            clearTimeout(timer);
            failed(new Error(`waited for ${what}, but it closed: ${JSON.stringify(this.closed)}`));
          }
        };
        this.waiting();
      });
    }

    open() { return this.until('open', () => this.opened); }
    end() { return this.until('close', () => this.closed); }
    outcome() { return { opened: this.opened, protocol: this.socket.protocol, ...this.closed }; }
  }

  globalThis.oracle = {
    // What the paths are at.
    origin: location.origin,

    payloads: Object.keys(payloads),

    // Sends one of the payloads and says what is wrong with its echo, if anything.
    async echo(name) {
      const talk = new Socket('/echo');
      await talk.open();
      const sent = payloads[name]();
      talk.socket.send(sent);
      await talk.until('the echo', () => talk.received.length > 0);
      talk.socket.close();
      await talk.end();
      if (talk.received.length !== 1) return `${talk.received.length} messages came back`;
      if (!same(sent, talk.received[0])) return `sent ${describe(sent)}, received ${describe(talk.received[0])} that differs`;
      return null;
    },

    // What the two ends agreed on, as the browser tells it.
    async extensions(path) {
      const talk = new Socket(path);
      await talk.open();
      const { extensions } = talk.socket;
      talk.socket.close();
      await talk.end();
      return extensions;
    },

    // Sends all payloads on one connection, so many times over, and names those whose echo is wrong.
    async echoAll(times) {
      const talk = new Socket('/echo');
      await talk.open();
      const sent = Array.from({ length: times }, () => Object.entries(payloads)).flat().map(([name, make]) => [name, make()]);
      for (const [, payload] of sent) talk.socket.send(payload);
      await talk.until('all echoes', () => talk.received.length === sent.length);
      talk.socket.close();
      await talk.end();
      return sent.filter(([, payload], index) => !same(payload, talk.received[index])).map(([name]) => name);
    },

    async echoMany(count) {
      const talk = new Socket('/echo');
      await talk.open();
      for (let index = 0; index < count; index += 1) talk.socket.send(`message ${index}`);
      await talk.until(`${count} echoes`, () => talk.received.length === count);
      talk.socket.close();
      await talk.end();
      return talk.received.every((message, index) => message === `message ${index}`);
    },

    // Connects, and closes at once with these arguments.
    async close(path, protocols, closing) {
      const talk = new Socket(path, protocols);
      await talk.open();
      talk.socket.close(...closing);
      await talk.end();
      return talk.outcome();
    },

    // Reads a stream of messages to its end, with a pause of `pause` milliseconds after each. Each message begins with its
    // index. If `confirm` is not null, a message is sent after as many of them.
    async readSlowly(path, pause, confirm) {
      const began = performance.now();
      const [indices, lengths] = [[], []];
      const end = (error, { closeCode = null, reason = null } = {}) => (
        { indices, lengths, code: closeCode, reason, error, took: Math.round(performance.now() - began) });
      const stream = new WebSocketStream(oracle.origin.replace(/^http/, 'ws') + path);
      try {
        const { readable, writable } = await stream.opened;
        const [reader, writer] = [readable.getReader(), writable.getWriter()];
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          indices.push(new DataView(value).getUint32(0));
          lengths.push(value.byteLength);
          await new Promise((resume) => setTimeout(resume, pause));
          // After the next read has begun: until then Chromium does not answer a ping that follows the last message.
          if (indices.length === confirm) setTimeout(() => writer.write('all received'), pause);
        }
        return end(null, await stream.closed);
      } catch (error) {
        return end(`${error.name}: ${error.message}`, error);
      }
    },

    // Asks the server to close with these arguments, and waits for the end.
    async closeByRequest(path, closing) {
      const talk = new Socket(path);
      await talk.open();
      talk.socket.send(`close: ${JSON.stringify(closing)}`);
      await talk.end();
      return talk.outcome();
    },

    // Sends nothing for so many milliseconds, and then expects an echo.
    async idle(path, time) {
      const talk = new Socket(path);
      await talk.open();
      await new Promise((resume) => setTimeout(resume, time));
      talk.socket.send('still here');
      await talk.until('the echo', () => talk.received.length > 0);
      talk.socket.close();
      await talk.end();
      return talk.received[0] === 'still here';
    },

    // Connects, and waits for the end to come from the other side.
    async watch(path, protocols) {
      const talk = new Socket(path, protocols);
      await talk.end();
      return talk.outcome();
    },
  };
}

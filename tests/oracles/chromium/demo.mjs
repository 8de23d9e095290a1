// Tests the demo server from end to end in headless Chromium: node demo.mjs DEMO MODULES OUT (see run).
// DEMO is the server's binary, MODULES the directory with node_modules, OUT where screenshots and the log go.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { stripVTControlCharacters } from 'node:util';

const [demoBinary, modules, out] = process.argv.slice(2).map((path) => resolve(path));
const { chromium } = createRequire(join(modules, 'package.json'))('playwright-core');
const screenshots = join(out, 'screenshots');
const demoLog = join(out, 'chromium-demo.log');

const LIMIT = 10_000; // milliseconds that one condition may take
const WHOLE_LIMIT = 300_000; // milliseconds that everything may take

let passed = 0;
let failed = 0;
let stopped = false; // by a signal: what fails from then on says nothing

async function check(name, test) {
  try {
    await test();
    passed += 1;
    console.log(`ok    ${name}`);
    return true;
  } catch (error) {
    if (stopped) return false;
    failed += 1;
    console.log(`FAIL  ${name}: ${stripVTControlCharacters(error.message).trim().replaceAll('\n', '\n      ')}`);
    return false;
  }
}

// Steps that build on each other: after a failure the rest cannot be judged, and counts as failed.
async function story(steps) {
  let broken = null;
  for (const [name, test] of Object.entries(steps)) {
    const earlier = broken;
    const ok = await check(name, async () => {
      if (earlier !== null) throw new Error(`not reached, because of '${earlier}'`);
      await test();
    });
    if (!ok) broken ??= name;
  }
}

// ---- in the page: raw WebSockets ----

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
      this.socket = new WebSocket(location.origin.replace(/^http/, 'ws') + path, protocols);
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

    // Connects, and waits for the end to come from the other side.
    async watch(path, protocols) {
      const talk = new Socket(path, protocols);
      await talk.end();
      return talk.outcome();
    },
  };
}

async function rawSockets(page) {
  for (const name of await page.evaluate(() => oracle.payloads)) {
    await check(`echo: ${name}`, async () => assert.equal(await page.evaluate((it) => oracle.echo(it), name), null));
  }
  await check('echo: 1000 messages sent in a row come back in order', async () => {
    assert.equal(await page.evaluate(() => oracle.echoMany(1000)), true);
  });

  for (const [offered, chosen] of [
    [[], ''],
    [['echo.v1'], 'echo.v1'],
    [['echo.v2'], 'echo.v2'],
    [['echo.v1', 'echo.v2'], 'echo.v1'],
    [['echo.v2', 'echo.v1'], 'echo.v2'],
    [['nobody.serves.this', 'echo.v2'], 'echo.v2'],
  ]) {
    await check(`subprotocol: offered [${offered}], chosen '${chosen}'`, async () => {
      const { protocol } = await page.evaluate((protocols) => oracle.close('/echo', protocols, [1000]), offered);
      assert.equal(protocol, chosen);
    });
  }
  // /echo has a handler without a subprotocol as well, so the server may accept and select none; a browser then fails the
  // connection by itself. Either way it must not open, nor hang.
  await check('subprotocol: one that nobody serves fails the connection', async () => {
    const outcome = await page.evaluate(() => oracle.watch('/echo', ['nobody.serves.this']));
    assert.deepEqual(outcome, { opened: false, protocol: '', code: 1006, reason: '', wasClean: false });
  });

  const closes = [[1000, 'done'], [3000, 'registered é'], [4999, 'private 🦀']];
  for (const [code, reason] of closes) {
    await check(`close by the client: ${code} '${reason}'`, async () => {
      const outcome = await page.evaluate((closing) => oracle.close('/echo', [], closing), [code, reason]);
      assert.deepEqual(outcome, { opened: true, protocol: '', code, reason, wasClean: true });
    });
  }
  await check('close by the client: no code', async () => {
    const outcome = await page.evaluate(() => oracle.close('/echo', [], []));
    assert.deepEqual(outcome, { opened: true, protocol: '', code: 1005, reason: '', wasClean: true });
  });
  for (const [code, reason] of closes) {
    await check(`close by the server: ${code} '${reason}'`, async () => {
      const path = `/close/${code}?reason=${encodeURIComponent(reason)}`;
      const outcome = await page.evaluate((it) => oracle.watch(it, []), path);
      assert.deepEqual(outcome, { opened: true, protocol: '', code, reason, wasClean: true });
    });
  }
}

// ---- the page itself ----

// Waits until an element's text contains `text` (a string or a pattern), or with `lacks`, until it does not. The text is
// compared with its white space collapsed, and without any between neighbouring elements.
async function shows(page, selector, text, { lacks = false } = {}) {
  const element = page.locator(selector);
  try {
    await element.filter(lacks ? { hasNotText: text } : { hasText: text }).waitFor({ state: 'attached' });
  } catch {
    const there = await element.innerText({ timeout: 1000 }).catch(() => null);
    const shown = there === null ? 'it is missing' : `it shows:\n${there}`;
    throw new Error(`${selector} should ${lacks ? 'no longer ' : ''}show ${text}; ${shown}`);
  }
}

async function chat(context, url) {
  const ada = await context.newPage();
  const bob = await context.newPage();
  const enter = async (page, name) => {
    await page.goto(url);
    await page.fill('#chat-name', name);
    await page.click('#chat-join');
    await shows(page, '#chat-online', name);
  };
  const say = async (page, text) => {
    await page.fill('#chat-input', text);
    await page.click('#chat-send');
  };
  await story({
    'chat: Ada joins and is online': () => enter(ada, 'Ada'),
    'chat: Bob joins in a second tab': () => enter(bob, 'Bob'),
    'chat: each sees the other online': async () => {
      await shows(ada, '#chat-online', 'Bob');
      await shows(bob, '#chat-online', 'Ada');
    },
    'chat: what Ada says reaches Bob and her own log': async () => {
      await say(ada, 'Is anybody there?');
      await shows(bob, '#chat-log', /Ada.*Is anybody there\?/);
      await shows(ada, '#chat-log', 'Is anybody there?');
    },
    'chat: what Bob answers reaches Ada': async () => {
      await say(bob, 'Everybody who matters. Grüße 🧦');
      await shows(ada, '#chat-log', /Bob.*Everybody who matters\. Grüße 🧦/u);
    },
    'chat: markup is shown as it was typed': async () => {
      await say(bob, '<b id="smuggled">bold</b>');
      await shows(ada, '#chat-log', '<b id="smuggled">bold</b>');
      assert.equal(await ada.locator('#smuggled').count(), 0, 'the message became part of the page');
    },
    'chat: screenshot': () => ada.screenshot({ path: join(screenshots, 'chat.png'), fullPage: true }),
    'chat: closing Bob\'s tab shows Ada that he left': async () => {
      await bob.close();
      await shows(ada, '#chat-log', /Bob.{0,20}(left|leaves|gone)/i);
      await shows(ada, '#chat-online', 'Bob', { lacks: true });
      await shows(ada, '#chat-online', 'Ada');
    },
    'chat: Ada can go on': async () => {
      await say(ada, 'Alone again');
      await shows(ada, '#chat-log', 'Alone again');
    },
  });
  await ada.close();
}

async function echoPanel(context, url) {
  const page = await context.newPage();
  const open = /\bopen(?!ing)|(?<!not |dis)connected/i;
  const roundTrip = String.raw`\d\s*(?:ms|µs|μs)`;
  await story({
    'echo panel: connects with echo.v2': async () => {
      await page.goto(url);
      await page.selectOption('#echo-protocol', 'echo.v2');
      await page.click('#echo-connect');
      await shows(page, '#echo-status', open);
    },
    'echo panel: text comes back, with its round-trip time': async () => {
      await page.fill('#echo-input', 'ping or pong?');
      await page.click('#echo-send-text');
      await shows(page, '#echo-log', 'ping or pong?');
      await shows(page, '#echo-log', new RegExp(roundTrip));
    },
    'echo panel: binary comes back, with its round-trip time': async () => {
      await page.fill('#echo-binary-size', '512');
      await page.click('#echo-send-binary');
      await shows(page, '#echo-log', '512');
      await shows(page, '#echo-log', new RegExp(`${roundTrip}.*${roundTrip}`));
      await shows(page, '#echo-log', 'mismatch', { lacks: true });
    },
    'echo panel: a close shows code, reason and that it was clean': async () => {
      await page.fill('#echo-close-code', '4999');
      await page.fill('#echo-close-reason', 'all done');
      await page.click('#echo-disconnect');
      await shows(page, '#echo-status', '4999');
      await shows(page, '#echo-status', 'all done');
      await shows(page, '#echo-status', /(?<!not |un)clean/i);
    },
    'echo panel: screenshot': () => page.screenshot({ path: join(screenshots, 'echo-closed.png'), fullPage: true }),
    'echo panel: a close by the server shows the same': async () => {
      await page.fill('#echo-close-code', '3000');
      await page.fill('#echo-close-reason', 'the server says');
      await page.click('#echo-server-close');
      await shows(page, '#echo-status', '3000');
      await shows(page, '#echo-status', 'the server says');
      await shows(page, '#echo-status', /(?<!not |un)clean/i);
    },
    'echo panel: connects again with echo.v1': async () => {
      await page.selectOption('#echo-protocol', 'echo.v1');
      await page.click('#echo-connect');
      await shows(page, '#echo-status', open);
      await page.fill('#echo-input', 'still there?');
      await page.click('#echo-send-text');
      await shows(page, '#echo-log', 'still there?');
    },
  });
  await page.close();
}

// ---- the server and the browser ----

async function within(limit, what, promise) {
  let timer;
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error(`waited ${limit} ms for ${what}`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const cleanups = []; // ended in reverse order

// Starts the demo and says where it listens.
async function startDemo() {
  const log = createWriteStream(demoLog);
  const extra = (process.env.DEMO_ARGS ?? '').split(/\s+/).filter(Boolean);
  const child = spawn(demoBinary, ['--listen', '127.0.0.1:0', ...extra], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exit = new Promise((done) => {
    child.once('error', (error) => done(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) => done(`ended with ${signal ?? `status ${code}`}`));
  });
  child.stderr.pipe(log);
  const lines = createInterface({ input: child.stdout });
  const firstLine = new Promise((done) => lines.once('line', done));
  lines.on('line', (line) => log.write(`${line}\n`));

  cleanups.push(async () => {
    child.kill('SIGTERM');
    await within(LIMIT, 'the demo to end after SIGTERM', exit).catch(async (error) => {
      child.kill('SIGKILL');
      await exit;
      throw error;
    });
  });
  const line = await within(LIMIT, 'the demo to listen', Promise.race([
    firstLine,
    exit.then((how) => { throw new Error(`the demo ${how}; its log: ${demoLog}`); }),
  ]));
  const [, url] = line.match(/^listening on (http:\/\/127\.0\.0\.1:\d+)$/) ?? [];
  assert.ok(url, `the demo's first line should say where it listens; it is '${line}'`);
  return { url, running: () => child.exitCode === null && child.signalCode === null };
}

let cleaning = null;
// Ends, in reverse order, what was started; once, whoever asks first.
function cleanUp() {
  cleaning ??= (async () => {
    for (const end of cleanups.reverse()) {
      await end().catch((error) => {
        failed += 1;
        console.log(`FAIL  clean-up: ${error.message}`);
      });
    }
  })();
  return cleaning;
}
async function stop(code) {
  stopped = true;
  await cleanUp();
  console.log('chromium: stopped');
  process.exit(code);
}

async function main() {
  await mkdir(screenshots, { recursive: true });
  const demo = await startDemo();
  const userData = await mkdtemp(join(out, 'chromium-user-data-'));
  cleanups.push(() => rm(userData, { recursive: true, force: true, maxRetries: 5 }));
  const context = await chromium.launchPersistentContext(userData, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    handleSIGINT: false,
    handleSIGTERM: false,
    viewport: { width: 1280, height: 800 },
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
  cleanups.push(() => within(LIMIT, 'Chromium to close', context.close()));
  context.setDefaultTimeout(LIMIT);
  const pageErrors = [];
  context.on('weberror', (event) => pageErrors.push(event.error().message));
  await context.addInitScript(installOracle, LIMIT);
  console.log(`Chromium ${context.browser()?.version() ?? ''} against ${demo.url}`);

  const page = context.pages()[0] ?? await context.newPage();
  await check('the page loads', async () => {
    const response = await page.goto(`${demo.url}/`);
    assert.equal(response.status(), 200);
  });
  await rawSockets(page);
  await chat(context, `${demo.url}/`);
  await echoPanel(context, `${demo.url}/`);
  await check('no uncaught error in any page', () => assert.deepEqual(pageErrors, []));
  await check('the demo is still running and nothing in it panicked', async () => {
    assert.ok(demo.running(), `it ended; its log: ${demoLog}`);
    assert.doesNotMatch(await readFile(demoLog, 'utf8'), /panicked at/);
  });
  console.log(`screenshots: ${screenshots}`);
}

process.once('SIGTERM', () => stop(143));
process.once('SIGINT', () => stop(130));
try {
  await within(WHOLE_LIMIT, 'everything', main());
} catch (error) {
  await check('the run goes through to its end', () => { throw error; });
}
await cleanUp();
if (!stopped) {
  console.log(`chromium: ${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

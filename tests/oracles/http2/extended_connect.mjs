// WebSockets over HTTP/2 by node's own client (RFC 8441), with the frames of the `ws` package:
// node extended_connect.mjs SERVER CERTIFICATES MODULES OUT (see run). SERVER is the example `http2`, CERTIFICATES what
// ../certificates makes, MODULES has node_modules.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import http2 from 'node:http2';
import https from 'node:https';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

import { check, run, startServer, within } from '../harness.mjs';

const [server, certificates, modules, out] = process.argv.slice(2).map((path) => resolve(path));
const WebSocket = createRequire(join(modules, 'package.json'))('ws');

const LIMIT = 20_000; // milliseconds that one condition may take
const WINDOW = 65_535; // bytes: what HTTP/2 begins with (RFC 9113 §6.9.2), stated here so that no default changes the test
const MEBIBYTE = 1 << 20;

// Frames over a stream of HTTP/2, by the receiver and the sender of `ws`.
class Socket {
  constructor(stream) {
    this.stream = stream;
    this.events = [];
    this.waiting = () => {};
    const happens = (event) => { this.events.push(event); this.waiting(); };
    this.sender = new WebSocket.Sender(stream, {});
    this.receiver = new WebSocket.Receiver({ isServer: false, maxPayload: 0 });
    this.receiver.on('message', (data, isBinary) => happens({ message: isBinary ? data : data.toString() }));
    this.receiver.on('ping', (data) => { this.sender.pong(data, true); });
    this.receiver.on('pong', (data) => happens({ pong: data.toString() }));
    this.receiver.on('conclude', (code, reason) => happens({ close: [code, reason.toString()] }));
    this.receiver.on('error', (error) => happens({ error }));
    stream.on('error', (error) => happens({ error }));
    stream.on('end', () => happens({ end: true }));
    stream.pipe(this.receiver);
  }

  send(data) { this.sender.send(data, { binary: Buffer.isBuffer(data), mask: true, fin: true, compress: false }); }

  // Sends one message in these frames.
  sendFragments(parts) {
    parts.forEach((part, index) => {
      this.sender.send(part, { binary: Buffer.isBuffer(part), mask: true, fin: index === parts.length - 1, compress: false });
      if (index === 0) this.sender.ping('between', true);
    });
  }

  async next(kind) {
    if (this.events.length === 0) await within(LIMIT, `'${kind}'`, new Promise((done) => { this.waiting = done; }));
    const event = this.events.shift();
    if (event.error) throw event.error;
    assert.ok(kind in event, `waited for '${kind}', got ${JSON.stringify(event).slice(0, 100)}`);
    return event[kind];
  }

  async echo(data) {
    this.send(data);
    same(await this.next('message'), data);
  }

  // Closes, and waits for the answer and for the end of the stream.
  async close(code, reason) {
    this.sender.close(code, reason, true);
    assert.deepEqual(await this.next('close'), [code, reason]);
    await this.next('end');
    this.stream.end();
  }
}

function same(got, expected) {
  const equal = Buffer.isBuffer(got) && Buffer.isBuffer(expected) ? got.equals(expected) : got === expected;
  assert.ok(equal, `${expected.length} of ${typeof expected} were sent, ${got.length} of ${typeof got} came back, or they differ`);
}

const bytes = (length) => Buffer.from(Array.from({ length }, (_, index) => ((index * 7919) >> 3) & 0xff));

const ca = readFileSync(join(certificates, 'ca.pem'));

// A connection of HTTP/2 whose settings have come.
async function connect(url, settings = {}) {
  const session = http2.connect(url, { ca, settings: { initialWindowSize: WINDOW, enablePush: false, ...settings } });
  const failed = new Promise((_, reject) => { session.once('error', reject); });
  await within(LIMIT, 'the settings', Promise.race([failed, new Promise((done) => { session.once('remoteSettings', done); })]));
  session.on('error', () => {}); // the streams tell
  return session;
}

function request(session, headers, options) {
  const stream = session.request(headers, options);
  const response = new Promise((done, failed) => {
    stream.once('response', done);
    stream.once('error', failed);
  });
  return [stream, within(LIMIT, `the answer to ${headers[':method']} ${headers[':path']}`, response)];
}

// Asks for a WebSocket, and gives the answer.
function upgrade(session, path, more = {}) {
  const headers = {
    ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': path, ':authority': 'localhost',
    'sec-websocket-version': '13', ...more,
  };
  return request(session, headers, { endStream: false });
}

async function open(session, path) {
  const [stream, response] = upgrade(session, path);
  const headers = await response;
  assert.equal(headers[':status'], 200);
  // RFC 8441 §5: these belong to HTTP/1.1.
  assert.equal(headers['sec-websocket-accept'], undefined);
  return new Socket(stream);
}

async function whole(stream) {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}

async function main() {
  await mkdir(out, { recursive: true });
  const log = join(out, 'extended-connect-server.log');
  const args = ['--listen', '127.0.0.1:0', '--cert', join(certificates, 'cert.pem'), '--key', join(certificates, 'key.pem')];
  const { url, running } = await startServer(server, args, log, LIMIT);
  const port = new URL(url).port;
  const session = await connect(url);
  const withSession = async (test) => {
    const other = await connect(url);
    try { await test(other); } finally { other.destroy(); }
  };

  await check('the server permits the extended CONNECT', async () => {
    assert.equal(session.remoteSettings.enableConnectProtocol, true);
  });
  await check('the same handler serves HTTP/2, and HTTP/1.1 on the same port', async () => {
    const socket = await open(session, '/version');
    assert.equal(await socket.next('message'), 'HTTP/2.0');
    assert.deepEqual(await socket.next('close'), [1000, '']);
    socket.sender.close(1000, '', true);
    await socket.next('end');
    const one = new WebSocket(`wss://127.0.0.1:${port}/version`, { ca, perMessageDeflate: false });
    const version = new Promise((done, failed) => { one.once('message', done); one.once('error', failed); });
    assert.equal((await within(LIMIT, 'a message over HTTP/1.1', version)).toString(), 'HTTP/1.1');
  });

  const payloads = {
    text: 'Hello, sockets',
    'text of many scripts': '🦀 👩‍👩‍👧‍👦 é 漢字',
    'empty text': '',
    'empty binary': Buffer.alloc(0),
    '64 KiB of binary': bytes(65_536),
    '1 MiB of binary, under a window of 64 KiB': bytes(MEBIBYTE),
    '1 MiB of text, under a window of 64 KiB': 'aé€🦀sixsix'.repeat(MEBIBYTE / 16),
  };
  for (const [name, payload] of Object.entries(payloads)) {
    await check(`echo: ${name}`, async () => {
      const socket = await open(session, '/echo');
      await socket.echo(payload);
      await socket.close(1000, 'done');
    });
  }
  await check('echo: 1000 messages sent in a row come back in order', async () => {
    const socket = await open(session, '/echo');
    for (let number = 0; number < 1000; number += 1) socket.send(`message ${number}`);
    for (let number = 0; number < 1000; number += 1) assert.equal(await socket.next('message'), `message ${number}`);
    await socket.close(1000, 'done');
  });
  await check('fragments, with a ping in between', async () => {
    const socket = await open(session, '/echo');
    socket.sendFragments(['frag', 'm€nted ', '', '🦀'.repeat(5000)]);
    assert.equal(await socket.next('pong'), 'between');
    same(await socket.next('message'), `fragm€nted ${'🦀'.repeat(5000)}`);
    await socket.close(1000, 'done');
  });
  for (const [code, reason] of [[1000, 'done'], [3000, 'registered é'], [4999, 'private 🦀']]) {
    await check(`close: ${code} '${reason}'`, async () => {
      const socket = await open(session, '/echo');
      await socket.echo('before');
      await socket.close(code, reason);
    });
  }
  await check('100 WebSockets at once on one connection', async () => {
    const sockets = await Promise.all(Array.from({ length: 100 }, () => open(session, '/echo')));
    await Promise.all(sockets.map((socket, index) => socket.echo(`stream ${index} `.repeat(500))));
    await Promise.all(sockets.map((socket) => socket.close(1000, 'done')));
  });

  await check('a stream that is not read does not stop its neighbours', () => withSession(async (other) => {
    // Our own window for the connection must not be what stops them.
    other.setLocalWindowSize(16 * MEBIBYTE);
    const stalled = await open(other, '/echo');
    stalled.stream.unpipe(stalled.receiver);
    stalled.stream.pause();
    stalled.send(bytes(8 * MEBIBYTE));
    const socket = await open(other, '/echo');
    await socket.echo('past it');
    await socket.close(1000, 'done');
    stalled.stream.close(http2.constants.NGHTTP2_CANCEL);
  }));
  await check('a stream that is reset leaves its neighbours alone', () => withSession(async (other) => {
    const [reset, socket] = [await open(other, '/echo'), await open(other, '/echo')];
    reset.send(bytes(100_000));
    reset.stream.close(http2.constants.NGHTTP2_CANCEL);
    await socket.echo('after');
    await socket.close(1000, 'done');
  }));
  await check('a connection that is cut leaves the server alone', () => withSession(async (other) => {
    const socket = await open(other, '/echo');
    await socket.echo('before');
    other.destroy();
    const next = await open(session, '/echo');
    await next.echo('after');
    await next.close(1000, 'done');
  }));

  await check('a plain request on the same connection is answered', async () => {
    const [stream, response] = request(session, { ':method': 'GET', ':path': '/health' });
    assert.equal((await response)[':status'], 200);
    assert.equal(await whole(stream), 'ok\n');
  });
  for (const [name, path, more, status] of [
    ['a path that is not served', '/nowhere', {}, 404],
    ['a version that is not 13', '/echo', { 'sec-websocket-version': '12' }, 426],
    ['a protocol that is not websocket', '/echo', { ':protocol': 'connect-udp' }, null],
  ]) {
    await check(`refused: ${name}`, async () => {
      const [stream, response] = upgrade(session, path, more);
      const got = (await response)[':status'];
      stream.end();
      if (status === null) assert.ok(got >= 400 && got < 600, `status ${got}`);
      else assert.equal(got, status);
    });
  }
  await check('GET by HTTP/1.1 on the same port is answered', async () => {
    const got = new Promise((done, failed) => https.get(`https://127.0.0.1:${port}/health`, { ca }, done).once('error', failed));
    assert.equal((await within(LIMIT, 'an answer', got)).statusCode, 200);
  });

  session.close();
  await check('the server is still running and nothing in it panicked', async () => {
    assert.ok(running(), `it ended; its log: ${log}`);
    assert.doesNotMatch(await readFile(log, 'utf8'), /panicked at/);
  });
}

await run('http2 (node)', 120_000, main);

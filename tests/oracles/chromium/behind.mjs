// node's `ws` as the server behind a proxy, with permessage-deflate: node behind.mjs MODULES. A page, and an
// echo at /echo, which closes when it is asked to. It prints its port.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const { WebSocketServer } = createRequire(join(resolve(process.argv[2]), 'package.json'))('ws');

const served = ['echo.v1', 'echo.v2'];
const sockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: true,
  handleProtocols: (offered) => [...offered].find((name) => served.includes(name)) ?? false,
});
const server = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end('<title>ws</title>'));
server.on('upgrade', (request, stream, head) => {
  if (request.url !== '/echo') {
    stream.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    return;
  }
  sockets.handleUpgrade(request, stream, head, (socket) => {
    const pinging = setInterval(() => socket.ping(), 1000);
    socket.on('close', () => clearInterval(pinging));
    socket.on('message', (data, isBinary) => {
      const text = isBinary ? '' : data.toString();
      if (text.startsWith('close: ')) socket.close(...JSON.parse(text.slice('close: '.length)));
      else socket.send(data, { binary: isBinary });
    });
  });
});
server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
process.once('SIGTERM', () => process.exit(0));

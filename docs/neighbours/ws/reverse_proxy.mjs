// A reverse proxy by ws. Messages are held whole, and compressed anew by each end, which answers its own pings.

import { STATUS_CODES, createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";

const upstream = process.argv[2] ?? "ws://127.0.0.1:8080";
const maxPayload = 16 << 20;
const server = createServer((request, response) => response.writeHead(426).end());

function refuse(socket, status, body) {
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: ${body.length}`;
  socket.end(`${head}\r\n\r\n${body}`);
}

function pipe(from, to) {
  from.on("message", (data, isBinary) => {
    if (to.readyState !== WebSocket.OPEN) return;
    // Backpressure: the other end is read again once this message has been sent.
    from.pause();
    to.send(data, { binary: isBinary }, () => from.resume());
  });
  from.on("close", (code, reason) => {
    if (code === 1005) to.close();
    else if (code === 1006) to.terminate();
    else to.close(code, reason);
  });
  from.on("error", () => to.terminate());
}

server.on("upgrade", (request, socket, head) => {
  const headers = { "x-forwarded-for": request.socket.remoteAddress };
  for (const name of ["authorization", "cookie", "origin", "user-agent"]) {
    if (request.headers[name]) headers[name] = request.headers[name];
  }
  const offered = request.headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim()) ?? [];
  const perMessageDeflate = /permessage-deflate/.test(request.headers["sec-websocket-extensions"]);
  const behind = new WebSocket(upstream + request.url, offered, { headers, maxPayload, perMessageDeflate });
  let cookies = [];
  behind.on("upgrade", (response) => (cookies = response.headers["set-cookie"] ?? []));
  behind.on("unexpected-response", async (_, response) => {
    refuse(socket, response.statusCode, Buffer.concat(await response.toArray()));
  });
  const unreachable = () => refuse(socket, 502, "the server behind cannot be reached\n");
  behind.on("error", unreachable);
  socket.on("error", () => behind.terminate());
  behind.on("open", () => {
    behind.off("error", unreachable);
    behind.pause();
    const wss = new WebSocketServer({
      noServer: true,
      maxPayload,
      handleProtocols: () => behind.protocol || false,
      perMessageDeflate: behind.extensions.includes("permessage-deflate"),
    });
    wss.on("headers", (lines) => lines.push(...cookies.map((cookie) => `Set-Cookie: ${cookie}`)));
    wss.handleUpgrade(request, socket, head, (client) => {
      pipe(client, behind);
      pipe(behind, client);
      behind.resume();
    });
  });
});

server.listen(process.env.PORT ?? 8000, "127.0.0.1");

// A chat with names, beside its page, by ws. The first message is the name.

import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";

const server = createServer((request, response) => {
  if (request.url !== "/") return response.writeHead(404).end();
  response.setHeader("Content-Type", "text/html");
  createReadStream("chat.html").on("error", () => response.destroy()).pipe(response);
});

const names = new Set();
const room = new WebSocketServer({ server, path: "/websocket" });

function sendAll(text) {
  for (const member of room.clients) {
    if (member.name && member.readyState === WebSocket.OPEN) member.send(text);
  }
}

room.on("connection", (socket) => {
  socket.on("error", console.error);
  socket.on("message", (data) => {
    const text = data.toString();
    if (socket.name) return sendAll(`${socket.name}: ${text}`);
    if (names.has(text)) return socket.send("Username already taken.");
    names.add(text);
    socket.name = text;
    sendAll(`${text} joined.`);
  });
  socket.on("close", () => {
    if (!socket.name) return;
    names.delete(socket.name);
    sendAll(`${socket.name} left.`);
  });
});

server.listen(process.env.PORT ?? 8080, "127.0.0.1");

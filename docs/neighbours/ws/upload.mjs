// An upload from disk to disk by ws: many messages of 64 KiB, and a text at the end, since a message is received whole.

import { createReadStream, createWriteStream } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket, WebSocketServer } from "ws";

let count = 0;

function store(socket) {
  const file = createWriteStream(join(tmpdir(), `upload-${count++}`));
  let len = 0;
  socket.on("error", console.error);
  file.on("error", () => socket.close(1011));
  file.on("drain", () => socket.resume());
  socket.on("message", (block, isBinary) => {
    if (!isBinary) return file.end(() => socket.send(String(len)));
    len += block.length;
    // Meanwhile nothing is read, and the sender waits.
    if (!file.write(block)) socket.pause();
  });
  socket.on("close", () => file.end());
}

async function upload(socket, path) {
  for await (const block of createReadStream(path)) {
    await new Promise((resolve, reject) => socket.send(block, (error) => (error ? reject(error) : resolve())));
  }
  socket.send("end");
  const [answer] = await once(socket, "message");
  return answer.toString();
}

const server = new WebSocketServer({ host: "127.0.0.1", port: process.env.PORT ?? 8080 });
server.on("connection", store);
server.on("listening", async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}/`);
  socket.on("error", console.error);
  await once(socket, "open");
  console.log(`${await upload(socket, process.argv[2])} bytes were stored`);
});

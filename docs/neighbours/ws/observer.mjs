// A passive observer by ws: prints the messages of a captured connection, given the bytes of both directions.

import { readFileSync } from "node:fs";
import { PerMessageDeflate, Receiver, extension } from "ws";

function split(bytes) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) throw new Error("the head is incomplete");
  const [start, ...lines] = bytes.toString("latin1", 0, end).split("\r\n");
  const headers = Object.fromEntries(lines.map((line) => line.split(/:\s*(.*)/)).map(([name, value]) => [name.toLowerCase(), value]));
  return { start, headers, rest: bytes.subarray(end + 4) };
}

const [client, server] = process.argv.slice(2).map((path) => split(readFileSync(path)));
if (!server.start.startsWith("HTTP/1.1 101 ")) throw new Error(`not opened: ${server.start}`);
const agreed = extension.parse(server.headers["sec-websocket-extensions"] ?? "");

// What one end sends is read as the other end reads it.
function read(sender, isServer, bytes) {
  const extensions = {};
  if (agreed["permessage-deflate"]) {
    const deflate = new PerMessageDeflate({ isServer });
    deflate.accept(structuredClone(agreed["permessage-deflate"]));
    extensions["permessage-deflate"] = deflate;
  }
  return new Promise((resolve, reject) => {
    const receiver = new Receiver({ isServer, extensions, maxPayload: 1 << 30 });
    receiver.on("message", (data, isBinary) => console.log(sender, isBinary ? data : data.toString()));
    receiver.on("ping", (data) => console.log(sender, "Ping", data));
    receiver.on("pong", (data) => console.log(sender, "Pong", data));
    receiver.on("conclude", (code, reason) => console.log(sender, "Close", code, reason.toString()));
    receiver.on("error", reject);
    receiver.end(bytes, resolve);
  });
}

await read("client:", true, client.rest);
await read("server:", false, server.rest);

// JSON-RPC 2.0 by ws: a server with methods, and a client with several calls under way.

import { WebSocket, WebSocketServer } from "ws";

const methods = {
  add: (numbers) => numbers.reduce((sum, number) => sum + number, 0),
  subtract: ([minuend, subtrahend]) => minuend - subtrahend,
};

const failed = (code, message) => ({ error: { code, message } });

function dispatch({ method, params }) {
  if (!Object.hasOwn(methods, method)) return failed(-32601, "unknown method");
  const count = method === "subtract" ? 2 : params?.length;
  const fits = Array.isArray(params) && params.length === count && params.every(Number.isInteger);
  return fits ? { result: methods[method](params) } : failed(-32602, "expected numbers");
}

function answer(data) {
  let request;
  try {
    request = JSON.parse(data);
  } catch (error) {
    return { id: null, ...failed(-32700, error.message) };
  }
  if (typeof request?.method !== "string") return { id: null, ...failed(-32600, "expected a method") };
  const outcome = dispatch(request);
  return request.id === undefined ? undefined : { id: request.id, ...outcome };
}

function serve(socket) {
  socket.on("error", console.error);
  socket.on("message", (data) => {
    const response = answer(data);
    if (response) socket.send(JSON.stringify({ jsonrpc: "2.0", ...response }));
  });
}

class Client {
  #last = 0;
  #waiting = new Map();

  constructor(socket) {
    this.socket = socket;
    socket.on("message", (data) => this.#receive(data));
    socket.on("close", (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`closed with ${code}`));
    });
  }

  call(method, params) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) return reject(new Error("closed"));
      this.#waiting.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  #receive(data) {
    let response;
    try {
      response = JSON.parse(data);
    } catch {
      return;
    }
    const call = this.#waiting.get(response?.id);
    this.#waiting.delete(response?.id);
    if (response.error) call?.reject(new Error(response.error.message));
    else call?.resolve(response.result);
  }
}

const server = new WebSocketServer({ host: "127.0.0.1", port: process.env.PORT ?? 8080 });
server.on("connection", serve);
server.on("listening", () => {
  const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}/`);
  socket.on("error", console.error);
  socket.on("open", async () => {
    const client = new Client(socket);
    console.log(await Promise.allSettled([client.call("add", [1, 2]), client.call("subtract", [{ minuend: 42 }])]));
  });
});

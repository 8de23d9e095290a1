// GraphQL subscriptions by ws: the protocol graphql-transport-ws.

import { WebSocketServer } from "ws";

const PROTOCOL = "graphql-transport-ws";
const MAX_SUBSCRIPTIONS = 100;
const INIT_TIMEOUT = 3000;

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: process.env.PORT ?? 8080,
  path: "/graphql",
  handleProtocols: () => PROTOCOL,
  verifyClient: ({ req }, done) => {
    const offered = (req.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
    done(offered.includes(PROTOCOL), 400);
  },
});

server.on("connection", (socket) => {
  const subscriptions = new Map();
  let isInit = false;
  const send = (message) => socket.send(JSON.stringify(message));
  const deadline = setTimeout(() => socket.close(4408, "Connection initialisation timeout"), INIT_TIMEOUT);
  socket.on("error", console.error);
  socket.on("close", () => {
    clearTimeout(deadline);
    subscriptions.forEach(clearInterval);
  });

  function subscribe(id, query) {
    if (query.trim() !== "subscription { ticks }") {
      return send({ id, type: "error", payload: [{ message: "expected 'subscription { ticks }'" }] });
    }
    let ticks = 0;
    const timer = setInterval(() => {
      send({ id, type: "next", payload: { data: { ticks: ++ticks } } });
      if (ticks < 3) return;
      complete(id);
      send({ id, type: "complete" });
    }, 1000);
    subscriptions.set(id, timer);
  }

  function complete(id) {
    clearInterval(subscriptions.get(id));
    subscriptions.delete(id);
  }

  socket.on("message", (data) => {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return socket.close(4400, "Invalid message");
    }
    const id = message?.id;
    switch (message?.type) {
      case "connection_init":
        if (isInit) return socket.close(4429, "Too many initialisation requests");
        isInit = true;
        clearTimeout(deadline);
        return send({ type: "connection_ack" });
      case "ping":
        return send({ type: "pong" });
      case "pong":
        return;
      case "subscribe":
        if (!isInit) return socket.close(4401, "Unauthorized");
        if (typeof id !== "string" || typeof message.payload?.query !== "string") break;
        if (subscriptions.size === MAX_SUBSCRIPTIONS) return socket.close(1008, "Too many subscriptions");
        if (subscriptions.has(id)) {
          const reason = Buffer.from(`Subscriber for ${id} already exists`).subarray(0, 120);
          return socket.close(4409, new TextDecoder().decode(reason, { stream: true }));
        }
        return subscribe(id, message.payload.query);
      case "complete":
        return complete(id);
    }
    socket.close(4400, "Invalid message");
  });
});

// A client of the rooms of sockless, for browsers and other runtimes that have WebSocket: it joins rooms, publishes to them,
// and goes on where it was after its connection broke. The envelope is `rooms.v1+json`, described in the documentation of
// `sockless::rooms::json`.
//
//   const client = new RoomsClient("wss://example.com/rooms");
//   client.addEventListener("item", ({ detail }) => console.log(detail.room, detail.from?.identity, detail.data));
//   client.addEventListener("lost", ({ detail }) => reload(detail.room));
//   client.join("chat:lobby", { last: 20 });
//   client.publish("chat:lobby", "hello").then(({ position }) => …, (refusal) => …);
//
// Events, each a CustomEvent with its fields in `detail`:
//
//   connected, disconnected {code, reason}, waiting {delay}   of the connection
//   joined {room, resumed}      resumed is "new", "complete" or "gap"
//   item {room, position, from: {id, identity}, data or base64}
//   lost {room, count}          messages were lost: with "gap" too. Read the state of the room from elsewhere
//   members {room, you, count, members}, member_joined and member_left {room, member}
//   refused {room, code, message, retry_after_ms}   the room may not be joined, and is forgotten
//   interrupted, restored {room}   of the servers among each other
//
// In a room with a history, each item comes in order and once, or `lost` comes. What is published is sent again until the
// server has answered, and is in the room once.
//
// Licensed under either of MIT or Apache-2.0.

const SUBPROTOCOL = "rooms.v1+json";

/** The stream that a position is in, and its place there. */
function parts(position) {
  const [epoch, offset] = position.split(".");
  return { epoch, offset: BigInt(offset) };
}

/** Text that nobody guesses, so that nobody else uses a key of this client first. */
function randomText() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class RoomsClient extends EventTarget {
  #url;
  #options;
  #socket = null;
  #timer = null;
  #failures = 0;
  #isOpen = false;
  #isClosed = false;
  #rooms = new Map(); // name → { last, data, position, phase: "new", "in" or "out" }
  #leaving = new Map(); // name → the number of answers that are awaited
  #unanswered = new Map(); // id → { text, resolve, reject }
  #keys = randomText();
  #lastId = 0;
  #wake = () => this.reconnect();

  /**
   * Connects to `url`. Delays between attempts are drawn between 0 and a limit, which doubles from `minDelay` to `maxDelay`,
   * in milliseconds; an attempt is abandoned after `openTimeout`. At most `maxUnanswered` messages wait for an answer.
   * `WebSocket` is for runtimes without a global one.
   */
  constructor(url, options = {}) {
    super();
    this.#url = url;
    this.#options = { minDelay: 500, maxDelay: 30_000, openTimeout: 10_000, maxUnanswered: 1000, WebSocket: globalThis.WebSocket, ...options };
    globalThis.addEventListener?.("online", this.#wake);
    this.#connect();
  }

  /** Joins a room until it is left: with the `last` messages of its history, and with `data` that other members see. */
  join(name, { last, data, since = null } = {}) {
    if (this.#rooms.has(name)) return;
    const room = { last, data, position: since, phase: "new" };
    this.#rooms.set(name, room);
    this.#send(this.#joining(name, room));
  }

  /** Leaves a room. No event of it follows. */
  leave(name) {
    if (!this.#rooms.delete(name) || !this.#isOpen) return;
    this.#leaving.set(name, (this.#leaving.get(name) ?? 0) + 1);
    this.#send({ type: "leave", room: name });
  }

  /**
   * Publishes a value that JSON can hold, in a room that was joined. Resolves to `{room, position}` when it is in the room,
   * and rejects with the server's `{code, message, retry_after_ms}`.
   */
  publish(name, data, { key, conflate } = {}) {
    if (!this.#rooms.has(name)) return Promise.reject(refusal("not_joined", "join the room first"));
    if (this.#unanswered.size >= this.#options.maxUnanswered) return Promise.reject(refusal("full", "too much is unanswered"));
    const id = ++this.#lastId;
    const message = { type: "publish", room: name, id, key: key ?? `${this.#keys}-${id}`, conflate, data };
    return new Promise((resolve, reject) => {
      this.#unanswered.set(id, { message, resolve, reject });
      this.#send(message);
    });
  }

  /** The position up to which everything of a room was received, or null. With `since` another client goes on there. */
  position(name) {
    return this.#rooms.get(name)?.position ?? null;
  }

  /** Whether there is a connection. */
  get isOpen() {
    return this.#isOpen;
  }

  /** Connects at once, if there is no connection: for example when the user asks for it. */
  reconnect() {
    if (!this.#isClosed && !this.#socket) this.#connect();
  }

  /** Drops the connection and waits `delay` ms before it connects again: as if the cable was pulled, for tests. */
  drop(delay = 0) {
    if (this.#isClosed) return;
    this.#ended({ code: 1006, reason: "" }, delay);
  }

  /** Leaves all rooms for good. What is unanswered is rejected. */
  close() {
    this.#isClosed = true;
    globalThis.removeEventListener?.("online", this.#wake);
    if (this.#socket) this.#ended({ code: 1000, reason: "" });
    clearTimeout(this.#timer);
    for (const { reject } of this.#unanswered.values()) reject(refusal("closed", "the client was closed"));
    this.#unanswered.clear();
  }

  #connect() {
    clearTimeout(this.#timer);
    const socket = this.#socket = new this.#options.WebSocket(this.#url, SUBPROTOCOL);
    // What an earlier connection still reports is not of this one.
    const mine = (act) => (event) => { if (this.#socket === socket) act(event); };
    socket.onopen = mine(() => this.#opened());
    socket.onmessage = mine(({ data }) => this.#received(data));
    socket.onclose = mine((event) => this.#ended(event));
    socket.onerror = () => {}; // What it is about follows as a close; node's `ws` throws it without a listener.
    // Browsers wait for minutes on a server that accepts and then says nothing.
    setTimeout(mine(() => { if (!this.#isOpen) this.#ended({ code: 1006, reason: "" }); }), this.#options.openTimeout);
  }

  #opened() {
    this.#isOpen = true;
    this.#emit("connected", {});
    for (const [name, room] of this.#rooms) this.#send(this.#joining(name, room));
    for (const { message } of this.#unanswered.values()) this.#send(message);
  }

  #ended({ code, reason }, delay = null) {
    const { minDelay, maxDelay } = this.#options;
    const socket = this.#socket;
    const wasOpen = this.#isOpen;
    this.#socket = null;
    this.#isOpen = false;
    socket?.close();
    this.#leaving.clear();
    for (const room of this.#rooms.values()) if (room.phase === "in") room.phase = "out";
    if (wasOpen) this.#emit("disconnected", { code, reason });
    if (this.#isClosed) return;
    delay ??= Math.random() * Math.min(maxDelay, minDelay * 2 ** this.#failures++);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#emit("waiting", { delay });
  }

  #joining(name, { last, data, position, phase }) {
    // Only a client that was not in the room begins in the past.
    return { type: "join", room: name, since: position ?? undefined, last: phase === "new" ? last : undefined, data };
  }

  #send(message) {
    if (this.#isOpen) this.#socket.send(JSON.stringify(message));
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #received(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      // Something of the stream may be in it: what is missing comes after a reconnect.
      return this.#ended({ code: 1002, reason: "not of the envelope" });
    }
    const { type, room: name, id } = message;
    if (type === "published") return this.#answered(id, ({ resolve }) => resolve(message));
    if (type === "error") return this.#refused(message);
    if (type === "left") return this.#hasLeft(name);
    const room = this.#rooms.get(name);
    // What comes between leaving and the answer is of the earlier membership.
    if (!room || this.#leaving.has(name) || (room.phase !== "in" && type !== "joined")) return;
    switch (type) {
      case "joined": return this.#joined(room, message);
      case "item": return this.#item(room, message);
      case "gap":
        room.position = message.position ?? null;
        return this.#emit("lost", { room: name });
      case "dropped":
        this.#send({ type: "members", room: name });
        return this.#emit("lost", message);
      case "members": case "member_joined": case "member_left": case "interrupted": case "restored":
        return this.#emit(type, message);
      // Other types are those of a later server.
    }
  }

  #joined(room, { room: name, position, resumed }) {
    // The client could not name the position that it had.
    if (resumed === "new" && room.phase === "out") resumed = "gap";
    room.phase = "in";
    room.position = position ?? null;
    this.#failures = 0;
    this.#emit("joined", { room: name, resumed });
    if (resumed === "gap") this.#emit("lost", { room: name });
  }

  #item(room, message) {
    if (message.position) {
      const next = parts(message.position);
      const known = room.position && parts(room.position);
      if (known?.epoch === next.epoch && next.offset <= known.offset) return;
      // Another stream, which no gap has announced.
      if (known && known.epoch !== next.epoch) this.#emit("lost", { room: message.room });
      room.position = message.position;
    }
    this.#emit("item", message);
  }

  #refused(message) {
    const { request, room, id } = message;
    if (request === "publish") return this.#answered(id, ({ reject }) => reject(message));
    if (request === "leave") return this.#hasLeft(room);
    if (request === "join" && !this.#leaving.has(room) && this.#rooms.delete(room)) this.#emit("refused", message);
  }

  #answered(id, answer) {
    const unanswered = this.#unanswered.get(id);
    if (unanswered && this.#unanswered.delete(id)) answer(unanswered);
  }

  #hasLeft(name) {
    const awaited = (this.#leaving.get(name) ?? 0) - 1;
    if (awaited > 0) this.#leaving.set(name, awaited);
    else this.#leaving.delete(name);
  }
}

const refusal = (code, message) => ({ type: "error", code, message });

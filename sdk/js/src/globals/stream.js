// What `response.body` is: a stream of bytes that are there already. It has a reader, async iteration, `cancel` and
// `tee`, and no piping: the host hands over whole bodies, so there is nothing to stream.
export class ReadableStream {
  #chunks;
  #locked = false;
  #onRead;
  constructor(source = undefined) {
    this.#chunks = source?._chunks ?? [];
    this.#onRead = source?._onRead;
    if (source !== undefined && source._chunks === undefined) {
      throw new TypeError("ReadableStream cannot be made by plugins; return strings or bytes instead");
    }
  }
  get locked() { return this.#locked; }
  #next() {
    this.#onRead?.();
    return this.#chunks.length > 0 ? { value: this.#chunks.shift(), done: false } : { value: undefined, done: true };
  }
  getReader() {
    if (this.#locked) throw new TypeError("The stream is locked to a reader");
    this.#locked = true;
    const stream = this;
    let released = false;
    return {
      closed: Promise.resolve(undefined),
      async read() {
        if (released) throw new TypeError("The reader was released");
        return stream.#next();
      },
      async cancel() { stream.#chunks = []; },
      releaseLock() {
        released = true;
        stream.#locked = false;
      },
    };
  }
  async cancel() {
    if (this.#locked) throw new TypeError("The stream is locked to a reader");
    this.#chunks = [];
  }
  tee() {
    if (this.#locked) throw new TypeError("The stream is locked to a reader");
    this.#locked = true;
    this.#onRead?.();
    return [0, 1].map(() => new ReadableStream({ _chunks: [...this.#chunks] }));
  }
  async *values() {
    const reader = this.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      yield value;
    }
    reader.releaseLock();
  }
  [Symbol.asyncIterator]() { return this.values(); }
  get [Symbol.toStringTag]() { return "ReadableStream"; }
}

/** A stream of one chunk. */
export function byteStream(bytes, onRead) {
  return new ReadableStream({ _chunks: bytes.length > 0 ? [bytes] : [], _onRead: onRead });
}

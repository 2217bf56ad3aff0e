/** Paints in a worker, so that the page answers while a picture is painted. */
export class Painter {
  #worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
  #waiting = new Map();
  #asked = 0;

  constructor() {
    this.#worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error === undefined) resolve(data);
      else reject(new Error(data.error));
    };
    this.#worker.onerror = event => {
      event.preventDefault();
      for (const { reject } of this.#waiting.values()) reject(new Error(event.message || 'the worker did not start'));
      this.#waiting.clear();
    };
  }

  #ask(message, transfer = []) {
    return new Promise((resolve, reject) => {
      const id = ++this.#asked;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...message }, transfer);
    });
  }

  /** Load a network, whose codes have so many numbers; wanted may be "wasm". Returns {backend, threads}. */
  open(address, codeLength, wanted) {
    return this.#ask({ kind: 'open', address, codeLength, wanted });
  }

  /** Paint an ImageData. Returns {image, backend, threads, milliseconds}. */
  async paint(image, code, strength) {
    const { width, height } = image;
    const pixels = image.data.buffer.slice(0);
    const done = await this.#ask({ kind: 'paint', pixels, width, height, code, strength }, [pixels]);
    return { ...done, image: new ImageData(new Uint8ClampedArray(done.pixels), width, height) };
  }
}

// The service, as the page asks it.

const KEY = 'impasto-key';

// What the service refused, or that it is not there (status 0).
export class ApiError extends Error {
  constructor(status, error, hint = '') {
    super(error);
    this.status = status;
    this.hint = hint;
  }
}

const listeners = new Set();
let away = false;

// Calls `listener(there)` whenever the service goes away or comes back.
export function onPresence(listener) {
  listeners.add(listener);
}

function tell(there) {
  if (away === !there) return;
  away = !there;
  for (const listener of listeners) listener(there);
  if (away) look();
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function look() {
  while (away) {
    await pause(1500);
    try {
      if ((await fetch('/readyz', { cache: 'no-store' })).ok) tell(true);
    } catch { /* still away */ }
  }
}

// Resolves when the service is there.
export async function there() {
  while (away) await pause(200);
}

export const keyGiven = () => sessionStorage.getItem(KEY) ?? '';
export const setKey = (key) => sessionStorage.setItem(KEY, key);

function headers(more = {}) {
  return keyGiven() ? { Authorization: `Bearer ${keyGiven()}`, ...more } : more;
}

async function refusal(reply) {
  const told = await reply.json().catch(() => ({}));
  return new ApiError(reply.status, told.error ?? `HTTP ${reply.status}`, told.hint ?? '');
}

// The reply to a request that succeeded. Throws ApiError; an AbortError passes.
export async function ask(path, { method = 'GET', body = null, signal = null, extra = {} } = {}) {
  let reply;
  try {
    reply = await fetch(path, { method, body, signal, headers: headers(extra) });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    tell(false);
    throw new ApiError(0, 'offline');
  }
  tell(true);
  if (!reply.ok) throw await refusal(reply);
  return reply;
}

export const json = async (path, options) => (await ask(path, options)).json();
export const blob = async (path, options) => (await ask(path, options)).blob();

export function post(path, value) {
  return json(path, { method: 'POST', body: JSON.stringify(value), extra: { 'Content-Type': 'application/json' } });
}

// An address that an <img> can show: with a key the picture is fetched, since an <img> sends none.
export async function picture(path) {
  return keyGiven() ? URL.createObjectURL(await blob(path)) : path;
}

// Sends a form, and says how much of it has gone (0 to 1). `key` makes a repeated request safe.
export function submit(form, key, onSent = () => {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', '/v1/jobs');
    for (const [name, value] of Object.entries(headers({ 'Idempotency-Key': key }))) request.setRequestHeader(name, value);
    request.responseType = 'json';
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    request.onerror = () => { tell(false); reject(new ApiError(0, 'offline')); };
    request.onload = () => {
      tell(true);
      if (request.status === 202) resolve(request.response);
      else reject(new ApiError(request.status, request.response?.error ?? `HTTP ${request.status}`, request.response?.hint ?? ''));
    };
    request.send(form);
  });
}

// Events of a job to its end, through lost connections. Yields {event, data}. Throws ApiError (404: the job is gone).
export async function* follow(id, signal) {
  while (true) {
    await there();
    try {
      // from the first event that is kept: a service that was started again counts anew
      const reply = await ask(`/v1/jobs/${id}/events`, { signal });
      for await (const found of events(reply.body)) {
        yield found;
        if (['done', 'failed', 'cancelled'].includes(found.event)) return;
      }
    } catch (error) {
      if (error.name === 'AbortError' || (error.status && error.status < 500)) throw error;
    }
    await pause(400);
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split('\n').filter((line) => !line.startsWith(':')).map((line) => {
        const at = line.indexOf(': ');
        return [line.slice(0, at), line.slice(at + 2)];
      }));
      if (fields.event) yield { event: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

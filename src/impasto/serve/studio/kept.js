// What the browser keeps: the work in hand, own paintings, and what each job was made of.

let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('impasto', 1);
    request.onupgradeneeded = () => request.result.createObjectStore('kept');
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

async function act(mode, work) {
  try {
    const store = (await database()).transaction('kept', mode).objectStore('kept');
    return await new Promise((resolve, reject) => {
      const request = work(store);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  } catch {
    return undefined; // a private window, or no room: the page works without
  }
}

export const get = (key) => act('readonly', (store) => store.get(key));
export const put = (key, value) => act('readwrite', (store) => store.put(value, key));
export const drop = (key) => act('readwrite', (store) => store.delete(key));
const keys = (prefix) => act('readonly', (store) => store.getAllKeys(IDBKeyRange.bound(prefix, `${prefix}\uffff`)));

// What a job was made of; photographs are kept once, and those of the oldest jobs are dropped.
export async function keepJob(id, photo, settings, parts) {
  await put(`photo:${photo.id}`, photo);
  await put(`job:${id}`, { photo: photo.id, settings, parts });
  const known = (await keys('job:')) ?? [];
  for (const key of known.slice(0, Math.max(0, known.length - 60))) await drop(key);
  const photos = new Set();
  for (const key of known.slice(-60)) photos.add((await get(key))?.photo);
  for (const key of (await keys('photo:')) ?? []) if (!photos.has(key.slice(6))) await drop(key);
}

export async function jobParts(id) {
  const found = await get(`job:${id}`);
  return found ? { ...found, photo: await get(`photo:${found.photo}`) } : null;
}

export const forgetJob = (id) => drop(`job:${id}`);

// The work in hand: one value that all parts of the page look at, kept through reloads.

import * as kept from './kept.js';

export const state = {
  about: { version: '', limits: { body_bytes: 64e6, max_pixels: 5e7, pictures: 16, video_seconds: 30 }, training: { offered: false, why_not: '' }, qualities: {} },
  methods: [], // as /v1/methods has them
  styles: [], // of the service: {id, title, artist, date, source}
  own: [], // own paintings: {id, title, blob, address}
  photo: null, // as photo.js reads it, and its address
  chosen: [], // {id, weight}
  quality: 'good',
  size: 768, // 0 for the photograph's own
  method: 'auto',
  values: {}, // settings of methods that were changed
  keepColor: '',
  protect: false,
  format: 'png',
  part: '', // of a video that is painted: 'subject', 'background', or all
  masks: {}, // by 'strength' or the id of a style: {blob, address}
  jobs: new Map(), // by id, as the service tells them, with {share, stage, preview, since}
  shown: null, // what the stage shows: {kind: 'photo'|'draft'|'job', ...}
};

const KEPT = ['chosen', 'quality', 'size', 'method', 'values', 'keepColor', 'protect', 'format', 'part'];
const watchers = new Set();

// Calls `watcher(changed)` with a set of the names that were changed.
export function watch(watcher) {
  watchers.add(watcher);
}

export function change(changes) {
  Object.assign(state, changes);
  const names = new Set(Object.keys(changes));
  if (KEPT.some((name) => names.has(name))) kept.put('work', Object.fromEntries(KEPT.map((name) => [name, state[name]])));
  if (names.has('photo')) kept.put('photo', state.photo && { ...state.photo, address: undefined });
  if (names.has('own')) kept.put('own', state.own.map(({ id, title, blob }) => ({ id, title, blob })));
  if (names.has('masks')) kept.put('masks', Object.fromEntries(Object.entries(state.masks).map(([id, mask]) => [id, mask.blob])));
  for (const watcher of watchers) watcher(names);
}

// What was kept of an earlier visit.
export async function restore() {
  const [work, photo, own, masks] = await Promise.all(['work', 'photo', 'own', 'masks'].map(kept.get));
  const found = { ...work };
  if (photo) found.photo = withAddress(photo);
  if (own) found.own = own.map((one) => ({ ...one, address: URL.createObjectURL(one.blob) }));
  if (masks) found.masks = Object.fromEntries(Object.entries(masks).map(([id, blob]) => [id, { blob, address: URL.createObjectURL(blob) }]));
  Object.assign(state, found);
}

export const withAddress = (photo) => ({ ...photo, address: URL.createObjectURL(photo.draft) });

// A style by its id, of the service or one's own, or undefined.
export function styleOf(id) {
  return state.styles.find((style) => style.id === id) ?? state.own.find((style) => style.id === id);
}

export const isTrained = (id) => /^(pack|trained):/.test(id);

// Styles mix only within a family: paintings, those of the pack, and each that was trained here by itself.
export const familyOf = (id) => (id.startsWith('trained:') ? id : isTrained(id) ? 'pack' : 'painting');

export function titleOf(id) {
  const words = styleOf(id)?.title ?? id;
  return isTrained(id) ? words.split('-').filter(Boolean).map((word) => word[0].toUpperCase() + word.slice(1)).join(' ') : words;
}

// The method that will paint: a draft is never an optimisation.
export function methodFor(quality) {
  const given = state.methods.find((row) => row.name === state.method);
  if (state.chosen.some(({ id }) => isTrained(id))) return row('feedforward');
  if (given && !(given.kind === 'objective' && quality === 'draft')) return given;
  return row(quality === 'draft' ? 'adain' : 'optimize');
}

const row = (name) => state.methods.find((one) => one.name === name);

// The value of a setting where nobody changed it.
export function defaultOf(method, name) {
  const preset = method.name === 'optimize' ? state.about.qualities[state.quality]?.[name] : undefined;
  return preset ?? method.settings.properties[name].default;
}

// The service's settings, and the files that go with them, for one picture of that quality and size.
export function recipe(quality, size, { format = state.format, draft = false } = {}) {
  const video = Boolean(state.photo?.video);
  const method = methodFor(video ? 'draft' : quality);
  const settings = { style: [], weight: [], region: [], format };
  const parts = [];
  settings.quality = method.kind === 'objective' ? quality : 'draft';
  if (state.method !== 'auto' && method.name === state.method) settings.method = state.method;
  if (size) settings.size = size;
  for (const [name, value] of Object.entries(state.values)) {
    const property = method.settings.properties[name];
    if (property && value !== defaultOf(method, name)) settings[name] = value;
  }
  if (state.keepColor) settings['keep-color'] = state.keepColor;
  if (state.protect && !draft && !video) settings['protect-faces'] = true;
  if (video && state.part) settings.preserve = state.part === 'subject' ? 'background' : 'subject';
  if (video && !draft) Object.assign(settings, { format: 'mp4' }, state.photo.video.seconds > state.about.limits.video_seconds ? { end: state.about.limits.video_seconds } : {});
  addStyles(settings, parts, video ? {} : state.masks);
  if (state.masks.strength && !video) parts.push({ field: 'strength-map', name: 'strength.png', blob: state.masks.strength.blob });
  for (const name of ['style', 'weight', 'region']) if (!settings[name].length) delete settings[name];
  return { settings, parts };
}

function addStyles(settings, parts, masks) {
  for (const [index, { id, weight }] of state.chosen.entries()) {
    const own = state.own.find((one) => one.id === id);
    const mask = masks[id];
    const name = `${index + 1} ${own?.title ?? ''}`.replace(/[^\w .-]/g, '').trim().slice(0, 40) + '.jpg';
    const share = Math.max(0.001, weight).toFixed(4);
    if (mask) {
      parts.push({ field: 'file', name: `mask${index}.png`, blob: mask.blob });
      if (own) parts.push({ field: 'file', name, blob: own.blob });
      settings.region.push(`mask${index}.png=${own ? name : id}`);
    } else if (own) {
      parts.push({ field: 'style', name, blob: own.blob });
      settings.weight.push(Number(share));
    } else settings.style.push(`${id}:${share}`);
  }
}

export function formOf({ settings, parts }, photo, blob) {
  const form = new FormData();
  form.append(photo.video && blob === photo.blob ? 'video' : 'content', blob, photo.name);
  for (const part of parts) form.append(part.field, part.blob, part.name);
  form.append('settings', JSON.stringify(settings));
  return form;
}

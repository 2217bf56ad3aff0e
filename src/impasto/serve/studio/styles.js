// The wall of paintings, those that were chosen, and how much there shall be of each.

import { picture } from './api.js';
import { clamp, dialog, fill, h, icon, speak, toast, tool } from './dom.js';
import { readPhoto } from './photo.js';
import { change, familyOf, isTrained, state, styleOf, titleOf, watch } from './state.js';
import { refused } from './refused.js';
import { trainDialog } from './training.js';
import { t } from './text.js';

const MOST = 4;
let words = '';
let source = 'all';

const plain = (text) => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();

function matching() {
  const wanted = plain(words).split(/\s+/).filter(Boolean);
  const all = [...state.own.map((one) => ({ ...one, artist: '', source: 'mine' })), ...state.styles.filter(({ id }) => !isTrained(id)), ...state.styles.filter(({ id }) => isTrained(id))];
  return all.filter((style) => {
    const text = plain(`${titleOf(style.id)} ${style.artist} ${style.date ?? ''} ${style.id}`);
    const kind = { museum: 'museum', pack: 'trained', trained: 'trained', mine: 'mine' }[style.source] ?? 'museum';
    return (source === 'all' || source === kind) && wanted.every((word) => text.includes(word));
  });
}

export function thumbnail(id, alt = '') {
  const own = state.own.find((one) => one.id === id);
  const image = h('img', { alt, loading: 'lazy', decoding: 'async', draggable: 'false', width: '256', height: '256' });
  if (own) image.src = own.address;
  else picture(`/v1/styles/${encodeURIComponent(id)}/thumbnail`).then((address) => { image.src = address; }, () => {});
  return image;
}

// Take a style in or out. The shares of those that were there stay as they are to each other.
export function toggle(id) {
  const { chosen } = state;
  if (chosen.some((one) => one.id === id)) return remove(id);
  const mixed = chosen.length && chosen.some((one) => familyOf(one.id) !== familyOf(id));
  if (mixed) toast(t('kinds'));
  if (!mixed && chosen.length === MOST) return toast(t('mostFour'));
  const before = mixed ? [] : chosen;
  return change({ chosen: even([...before, { id, weight: 1 }]) });
}

const even = (chosen) => chosen.map((one) => ({ ...one, weight: 1 / chosen.length }));

export function remove(id) {
  const { [id]: mask, ...masks } = state.masks;
  change({ chosen: even(state.chosen.filter((one) => one.id !== id)), ...(mask ? { masks } : {}) });
}

export async function addOwn(files) {
  for (const file of files) {
    try {
      const read = await readPhoto(file, { ...state.about.limits, max_pixels: Math.min(4e6, state.about.limits.max_pixels) });
      const id = `own:${read.id}`;
      const title = file.name?.replace(/\.\w+$/, '') || t('mine');
      if (!state.own.some((one) => one.id === id)) change({ own: [{ id, title, blob: read.blob, address: URL.createObjectURL(read.blob) }, ...state.own] });
      if (!state.chosen.some((one) => one.id === id)) toggle(id);
    } catch (error) {
      refused(error);
    }
  }
}

function tile(style) {
  const pressed = state.chosen.some((one) => one.id === style.id);
  const title = titleOf(style.id);
  const about = [style.artist, style.date].filter(Boolean).join(', ');
  const names = h('span', { class: 'names' }, h('b', { text: title }), about && h('span', { text: about }));
  return h('button', { type: 'button', class: 'tile', 'aria-pressed': String(pressed), 'data-key': `tile ${style.id}`, title: about ? `${title}. ${about}` : title, onclick: () => toggle(style.id) },
    thumbnail(style.id), names, isTrained(style.id) && h('span', { class: 'kind', text: t('trained') }));
}

function ownTile() {
  const input = h('input', { type: 'file', accept: 'image/*', multiple: true, class: 'unseen', onchange: (event) => { addOwn([...event.target.files]); event.target.value = ''; } });
  return h('label', { class: 'tile add' }, input, icon('plus'), h('span', { text: t('own') }));
}

function trainTile() {
  return h('button', { type: 'button', class: 'tile add', 'data-key': 'train', onclick: trainDialog }, icon('brush'), h('span', { text: t('train') }));
}

// Search, kinds and the tiles, twice: in the panel and large in a dialog.
function wall({ large = false } = {}) {
  const tiles = h('div', { class: large ? 'tiles large' : 'tiles' });
  const show = () => {
    const found = matching();
    fill(tiles, source === 'trained' ? trainTile() : ownTile(), found.map(tile), !found.length && h('p', { class: 'quiet', text: t('nothing') }));
    for (const button of kinds.children) button.setAttribute('aria-pressed', String(button.dataset.kind === source));
  };
  const search = h('input', { type: 'search', class: 'search', placeholder: t('search'), 'aria-label': t('search'), value: words, 'data-key': 'search', oninput: (event) => { words = event.target.value; show(); } });
  const kinds = h('div', { class: 'kinds', role: 'group' }, ['all', 'museum', 'trained', 'mine'].map((kind) =>
    h('button', { type: 'button', 'data-kind': kind, 'aria-pressed': 'false', text: t(kind), onclick: () => { source = kind; show(); } })));
  show();
  const element = h('div', { class: 'wall' }, h('div', { class: 'finder' }, search, !large && tool('large', t('wall'), openWall)), kinds, tiles);
  const mark = () => {
    for (const button of tiles.querySelectorAll('button.tile')) {
      button.setAttribute('aria-pressed', String(state.chosen.some((one) => `tile ${one.id}` === button.dataset.key)));
    }
  };
  return { element, show, mark };
}

let walls = [];

function openWall() {
  const made = wall({ large: true });
  walls.push(made);
  const box = dialog(t('paintings'), t('close'), made.element);
  box.classList.add('whole');
  box.addEventListener('close', () => { walls = walls.filter((one) => one !== made); walls.forEach((one) => one.show()); });
}

// --- what was chosen, and the pad on which it is mixed

const CORNERS = {
  2: [[8, 50], [92, 50]],
  3: [[50, 10], [92, 86], [8, 86]],
  4: [[10, 10], [90, 10], [90, 90], [10, 90]],
};

// Shares of the corners at a place of the pad.
export function sharesAt(x, y, count) {
  if (count === 2) {
    const share = clamp((x - 8) / 84, 0, 1);
    return [1 - share, share];
  }
  if (count === 4) {
    const [u, v] = [clamp((x - 10) / 80, 0, 1), clamp((y - 10) / 80, 0, 1)];
    return [(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v];
  }
  const [[ax, ay], [bx, by], [cx, cy]] = CORNERS[3];
  const area = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy);
  const first = ((by - cy) * (x - cx) + (cx - bx) * (y - cy)) / area;
  const second = ((cy - ay) * (x - cx) + (ax - cx) * (y - cy)) / area;
  const raw = [first, second, 1 - first - second].map((share) => Math.max(0, share));
  const sum = raw[0] + raw[1] + raw[2];
  return raw.map((share) => share / sum);
}

function pad() {
  const corners = CORNERS[state.chosen.length];
  const dot = h('circle', { r: '6', class: 'dot' });
  const outline = h('polygon', { points: corners.map((corner) => corner.join(',')).join(' '), class: 'field' });
  const under = h('svg', { viewBox: '0 0 100 100', 'aria-hidden': 'true', class: 'under' }, outline);
  const drawing = h('svg', { viewBox: '0 0 100 100', 'aria-hidden': 'true' }, dot);
  const faces = state.chosen.map(({ id }, index) => {
    const face = h('span', { class: 'corner' }, thumbnail(id));
    [face.style.left, face.style.top] = corners[index].map((place) => `${place}%`);
    return face;
  });
  const element = h('div', { class: `pad of${corners.length}`, tabindex: '0', role: 'group', 'aria-label': t('mix'), 'data-key': 'pad' }, under, faces, drawing);
  const place = () => {
    const sum = state.chosen.reduce((total, { weight }) => total + weight, 0) || 1;
    const at = [0, 1].map((axis) => state.chosen.reduce((total, { weight }, index) => total + (weight / sum) * corners[index][axis], 0));
    dot.setAttribute('cx', at[0]);
    dot.setAttribute('cy', at[1]);
    return at;
  };
  const set = (x, y) => {
    const shares = sharesAt(x, y, corners.length);
    change({ chosen: state.chosen.map((one, index) => ({ ...one, weight: shares[index] })) });
  };
  const to = (event) => {
    const box = drawing.getBoundingClientRect();
    set(((event.clientX - box.left) / box.width) * 100, ((event.clientY - box.top) / box.height) * 100);
  };
  element.addEventListener('pointerdown', (event) => { element.setPointerCapture(event.pointerId); to(event); });
  element.addEventListener('pointermove', (event) => element.hasPointerCapture(event.pointerId) && to(event));
  element.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: [-4, 0], ArrowRight: [4, 0], ArrowUp: [0, -4], ArrowDown: [0, 4] }[event.key];
    if (!by) return;
    event.preventDefault();
    const [x, y] = place();
    set(x + by[0], y + by[1]);
    speak(state.chosen.map(({ id, weight }) => `${titleOf(id)} ${Math.round(100 * weight)} %`).join(', '));
  });
  place();
  return { element, place };
}

function chip({ id, weight }, alone) {
  const title = titleOf(id);
  const percent = h('output', { text: `${Math.round(100 * weight)} %` });
  const slider = h('input', { type: 'range', min: '0', max: '100', value: String(Math.round(100 * weight)), 'aria-label': t('share', title), 'data-key': `share ${id}`,
    oninput: (event) => setShare(id, Number(event.target.value) / 100) });
  return h('li', { class: 'chip' }, thumbnail(id), h('span', { class: 'title', text: title }), !alone && slider, !alone && percent, tool('close', t('remove', title), () => remove(id)));
}

// One share is set; the others keep their proportions.
function setShare(id, weight) {
  const rest = state.chosen.filter((one) => one.id !== id).reduce((total, one) => total + one.weight, 0);
  const others = state.chosen.length - 1;
  change({ chosen: state.chosen.map((one) => ({ ...one, weight: one.id === id ? weight : rest ? (one.weight / rest) * (1 - weight) : (1 - weight) / others })) });
}

function chosenList() {
  const element = h('div', { class: 'chosen' });
  let mixing = null;
  let ids = '';
  const show = () => {
    const now = state.chosen.map(({ id }) => id).join();
    if (now === ids && mixing) {
      mixing.place();
      for (const [index, { weight }] of state.chosen.entries()) {
        const item = element.querySelectorAll('.chip')[index];
        item.querySelector('input').value = String(Math.round(100 * weight));
        item.querySelector('output').textContent = `${Math.round(100 * weight)} %`;
      }
      return;
    }
    ids = now;
    mixing = state.chosen.length > 1 && state.chosen.every(({ id }) => styleOf(id)) ? pad() : null;
    const list = h('ul', { class: 'chips', 'aria-label': t('chosen') }, state.chosen.map((one) => chip(one, state.chosen.length === 1)));
    fill(element, state.chosen.length ? list : h('p', { class: 'quiet', text: t('noStyles') }), mixing?.element);
  };
  show();
  return { element, show };
}

// The part of the panel with paintings.
export function stylesPart() {
  const made = wall();
  walls = [made];
  const list = chosenList();
  part = { made, list };
  return h('div', { class: 'part' }, list.element, made.element);
}

let part = null;

watch((changed) => {
  if (!part) return;
  if (changed.has('styles') || changed.has('own')) walls.forEach((one) => one.show());
  if (changed.has('chosen') || changed.has('styles')) {
    part.list.show();
    walls.forEach((one) => one.mark());
  }
});

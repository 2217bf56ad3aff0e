// Where to paint: a brush over the photograph, and masks that the service finds, of a word or of what is pointed at.

import { blob } from './api.js';
import { clamp, dialog, fill, h, speak, tool } from './dom.js';
import { refused } from './refused.js';
import { change, state, titleOf, watch } from './state.js';
import { t } from './text.js';

const SIDE = 1024;
const UNDOS = 20;
const SPOT = 12; // pixels of the ring that points
const INK = [228, 66, 34]; // what is brushed is seen in this colour; its opacity is the mask

// The mask that the service finds in the photograph, as a picture.
const found = new Map();

async function find(what) {
  const key = `${state.photo.id} ${what}`;
  if (!found.has(key)) {
    const form = new FormData();
    form.append('content', state.photo.draft, 'photo.jpg');
    found.set(key, await blob(`/v1/masks?what=${encodeURIComponent(what)}`, { method: 'POST', body: form }));
  }
  return found.get(key);
}

export function setMask(layer, data, what = '') {
  const { [layer]: old, ...masks } = state.masks;
  if (old) URL.revokeObjectURL(old.address);
  change({ masks: data ? { ...masks, [layer]: { blob: data, what, address: URL.createObjectURL(data) } } : masks });
}

export function wherePart() {
  const element = h('div', { class: 'part where' });
  const show = () => {
    if (state.photo?.video) return fill(element, h('p', { class: 'quiet', text: t('whereVideo') }), partOfVideo());
    const layers = [['strength', t('strengthHere')], ...(state.chosen.length > 1 ? state.chosen.map(({ id }) => [id, t('onlyHere', titleOf(id))]) : [])];
    return fill(element, h('p', { class: 'quiet', text: t('whereText') }), layers.map(([layer, words]) => row(layer, words)));
  };
  show();
  watch((changed) => { if (element.isConnected && ['masks', 'chosen', 'photo', 'part'].some((name) => changed.has(name))) show(); });
  return element;
}

// Which part of a video is painted; the service finds it in each frame.
function partOfVideo() {
  return h('div', { class: 'choices' }, [['', 'everywhere'], ['subject', 'subject'], ['background', 'background']].map(([part, words]) =>
    h('button', { type: 'button', text: t(words), 'aria-pressed': String(state.part === part), 'data-key': `part ${part}`, onclick: () => change({ part }) })));
}

function row(layer, words) {
  const mask = state.masks[layer];
  const auto = async (what, button) => {
    button.disabled = true;
    speak(t('finding'));
    try {
      setMask(layer, await find(what), what);
    } catch (error) {
      refused(error);
    }
    button.disabled = false;
  };
  const off = !state.photo;
  const button = (text, act, key) => h('button', { type: 'button', text, disabled: off, 'aria-pressed': String(mask?.what === key), 'data-key': `${layer} ${key}`, onclick: (event) => act(event.currentTarget) });
  return h('fieldset', { class: 'layer' }, h('legend', { text: words }),
    mask && h('img', { class: 'mask', src: mask.address, alt: t('hasMask') }),
    h('div', { class: 'choices' },
      h('button', { type: 'button', text: t('everywhere'), 'aria-pressed': String(!mask), disabled: off, onclick: () => setMask(layer, null) }),
      button(t('subject'), (self) => auto('subject', self), 'subject'), button(t('background'), (self) => auto('background', self), 'background'),
      button(t('person'), (self) => auto('person', self), 'person'), button(t('brush'), () => openBrush(layer), 'brush'), button(t('point'), () => openBrush(layer, true), 'point')));
}

function openBrush(layer, points = false) {
  const editor = new Brush(layer, points);
  const box = dialog(t('brushTitle'), t('close'), editor.element);
  box.classList.add('whole', 'brushing');
  editor.begin();
  box.addEventListener('close', () => editor.finish());
  editor.onDone = () => box.close();
}

class Brush {
  constructor(layer, points) {
    this.layer = layer;
    this.points = points; // whether a click selects the thing that is there
    this.looking = false;
    const share = SIDE / Math.max(state.photo.width, state.photo.height);
    this.canvas = h('canvas', { tabindex: '0', 'aria-label': t('brushHelp'), role: 'application' });
    this.canvas.width = Math.max(1, Math.round(state.photo.width * Math.min(1, share)));
    this.canvas.height = Math.max(1, Math.round(state.photo.height * Math.min(1, share)));
    this.context = this.canvas.getContext('2d', { willReadFrequently: true });
    this.brush = { size: Math.round(Math.max(this.canvas.width, this.canvas.height) / 10), hardness: 0.5, pressure: 1, erase: false };
    this.cursor = { x: this.canvas.width / 2, y: this.canvas.height / 2 };
    this.past = [];
    this.future = [];
    this.ring = h('div', { class: 'ring', 'aria-hidden': 'true' });
    this.photo = h('img', { src: state.photo.address, alt: '', draggable: 'false' });
    this.board = h('div', { class: 'board' }, this.photo, this.canvas, this.ring);
    this.element = h('div', { class: 'editor' }, h('div', { class: 'area' }, this.board), this.toolbar(), this.help = h('p', { class: 'quiet help' }));
    this.told();
    this.listen();
  }

  toolbar() {
    const slider = (name, low, high, step) => h('label', { class: 'slide' }, t({ size: 'brushSize', hardness: 'hardness', pressure: 'pressure' }[name]),
      h('input', { type: 'range', min: String(low), max: String(high), step: String(step), value: String(this.brush[name]), oninput: (event) => { this.brush[name] = Number(event.target.value); this.drawRing(); } }));
    this.sizeSlider = slider('size', 4, Math.round(Math.max(this.canvas.width, this.canvas.height) / 2), 1);
    this.eraser = h('button', { type: 'button', 'aria-pressed': 'false', text: t('erase'), onclick: () => this.toggleErase() });
    this.pointer = h('button', { type: 'button', text: t('point'), onclick: () => this.togglePoints() });
    const act = (words, does) => h('button', { type: 'button', text: words, onclick: does });
    this.doneButton = h('button', { type: 'button', class: 'primary', text: t('done'), onclick: () => this.onDone() });
    return h('div', { class: 'toolbar' }, this.sizeSlider, slider('hardness', 0, 1, 0.05), slider('pressure', 0.05, 1, 0.05), this.pointer, this.eraser,
      tool('undo', t('undo'), () => this.undo()), act(t('redo'), () => this.redo()), act(t('invert'), () => this.all((was) => 255 - was)),
      act(t('fillAll'), () => this.all(() => 255)), act(t('clear'), () => this.all(() => 0)),
      ['subject', 'background', 'person'].map((what) => act(t(what), () => this.auto(what))), this.doneButton);
  }

  async begin() {
    const kept = state.masks[this.layer];
    if (kept) await this.draw(kept.blob);
    this.started = this.canvas.toDataURL();
    this.canvas.focus();
    this.fitBoard();
    this.drawRing();
  }

  fitBoard() {
    const area = this.board.parentElement.getBoundingClientRect();
    const share = Math.min(area.width / this.canvas.width, area.height / this.canvas.height);
    this.board.style.width = `${this.canvas.width * share}px`;
    this.board.style.height = `${this.canvas.height * share}px`;
  }

  // A mask from a file, the lighter, the more; in place of what is brushed, or added to it, or taken out of it.
  async draw(data, how = 'copy') {
    const bitmap = await createImageBitmap(data);
    const { width, height } = this.canvas;
    const made = new OffscreenCanvas(width, height).getContext('2d');
    made.drawImage(bitmap, 0, 0, width, height);
    const pixels = made.getImageData(0, 0, width, height);
    for (let at = 0; at < pixels.data.length; at += 4) {
      pixels.data[at + 3] = pixels.data[at];
      pixels.data.set(INK, at);
    }
    made.putImageData(pixels, 0, 0);
    this.context.globalCompositeOperation = how;
    this.context.drawImage(made.canvas, 0, 0);
    this.context.globalCompositeOperation = 'source-over';
  }

  remember() {
    this.past.push(this.context.getImageData(0, 0, this.canvas.width, this.canvas.height));
    if (this.past.length > UNDOS) this.past.shift();
    this.future = [];
  }

  undo() { this.swap(this.past, this.future); }

  redo() { this.swap(this.future, this.past); }

  swap(from, to) {
    const pixels = from.pop();
    if (!pixels) return;
    to.push(this.context.getImageData(0, 0, this.canvas.width, this.canvas.height));
    this.context.putImageData(pixels, 0, 0);
  }

  all(value) {
    this.remember();
    const pixels = this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
    for (let at = 0; at < pixels.data.length; at += 4) {
      pixels.data[at + 3] = value(pixels.data[at + 3]);
      pixels.data.set(INK, at);
    }
    this.context.putImageData(pixels, 0, 0);
  }

  async auto(what, how = 'copy') {
    if (this.looking) return;
    this.looking = true;
    this.told();
    speak(t('finding'));
    try {
      const data = await find(what);
      this.remember();
      await this.draw(data, how);
    } catch (error) {
      refused(error);
    }
    this.looking = false;
    this.told();
  }

  // Selects the thing at a place of the canvas, or takes it out of what is selected.
  select({ x, y }) {
    const share = (value, whole) => `${clamp((100 * value) / whole, 0, 100).toFixed(2)}%`;
    this.auto(`point ${share(x, this.canvas.width)},${share(y, this.canvas.height)}`, this.brush.erase ? 'destination-out' : 'source-over');
  }

  togglePoints() {
    this.points = !this.points;
    this.told();
    this.drawRing();
  }

  // Says what a click does now.
  told() {
    this.pointer.setAttribute('aria-pressed', String(this.points));
    this.help.textContent = this.looking ? t('finding') : t(this.points ? 'pointHelp' : 'brushHelp');
  }

  toggleErase() {
    this.brush.erase = !this.brush.erase;
    this.eraser.setAttribute('aria-pressed', String(this.brush.erase));
  }

  stamp(x, y) {
    const { context, brush } = this;
    const radius = brush.size / 2;
    const paint = context.createRadialGradient(x, y, radius * brush.hardness * 0.98, x, y, radius);
    paint.addColorStop(0, `rgba(${INK},${brush.pressure})`);
    paint.addColorStop(1, `rgba(${INK},0)`);
    context.globalCompositeOperation = brush.erase ? 'destination-out' : 'source-over';
    context.fillStyle = paint;
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.fill();
    context.globalCompositeOperation = 'source-over';
  }

  stroke(from, to) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, this.brush.size / 8)));
    for (let step = 1; step <= steps; step += 1) this.stamp(from.x + ((to.x - from.x) * step) / steps, from.y + ((to.y - from.y) * step) / steps);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * this.canvas.width, y: ((event.clientY - box.top) / box.height) * this.canvas.height };
  }

  drawRing() {
    const share = this.canvas.getBoundingClientRect().width / this.canvas.width;
    const { style } = this.ring;
    style.width = style.height = this.points ? `${SPOT}px` : `${this.brush.size * share}px`;
    style.left = `${this.cursor.x * share}px`;
    style.top = `${this.cursor.y * share}px`;
  }

  listen() {
    const { canvas } = this;
    let last = null;
    canvas.addEventListener('pointerdown', (event) => {
      if (this.points) return void this.select(this.place(event));
      canvas.setPointerCapture(event.pointerId);
      this.remember();
      last = this.place(event);
      this.stamp(last.x, last.y);
    });
    canvas.addEventListener('pointermove', (event) => {
      this.cursor = this.place(event);
      this.drawRing();
      if (!last) return;
      for (const one of event.getCoalescedEvents?.() ?? [event]) {
        const next = this.place(one);
        this.stroke(last, next);
        last = next;
      }
    });
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { last = null; });
    this.element.addEventListener('keydown', (event) => this.pressed(event));
    addEventListener('resize', this.resized = () => { this.fitBoard(); this.drawRing(); });
  }

  pressed(event) {
    const { key } = event;
    const step = this.brush.size / 3;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[key];
    if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === 'z') (event.shiftKey ? this.redo() : this.undo());
    else if (event.target !== this.canvas) return;
    else if (by) this.cursor = { x: clamp(this.cursor.x + by[0], 0, this.canvas.width), y: clamp(this.cursor.y + by[1], 0, this.canvas.height) };
    else if (key === ' ' && this.points) this.select(this.cursor);
    else if (key === ' ') { this.remember(); this.stamp(this.cursor.x, this.cursor.y); }
    else if (key === '[' || key === ']') this.brush.size = clamp(this.brush.size * (key === '[' ? 0.8 : 1.25), 4, this.canvas.width);
    else if (key.toLowerCase() === 'e') this.toggleErase();
    else if (key.toLowerCase() === 'p') this.togglePoints();
    else return;
    event.preventDefault();
    this.drawRing();
  }

  // The brushed mask becomes the layer's, white on black; nothing brushed is no mask.
  async finish() {
    removeEventListener('resize', this.resized);
    if (this.canvas.toDataURL() === this.started) return;
    const { canvas, context } = this;
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    const empty = !pixels.data.some((value, at) => at % 4 === 3 && value > 2);
    if (empty) return void setMask(this.layer, null);
    for (let at = 0; at < pixels.data.length; at += 4) {
      pixels.data.fill(pixels.data[at + 3], at, at + 3);
      pixels.data[at + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
    canvas.toBlob((data) => setMask(this.layer, data, 'brush'), 'image/png');
  }
}

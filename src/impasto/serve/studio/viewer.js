// A picture that can be zoomed to its pixels and moved, and compared with another by a line that is dragged across.

import { clamp, h, tool } from './dom.js';
import { t } from './text.js';

const MOST = 32;

export class Viewer {
  // `mates` are viewers that move together with this one.
  constructor({ mates = null, label = '' } = {}) {
    this.mates = mates;
    mates?.push(this);
    this.size = null;
    this.zoom = 1; // 1 fits the whole picture
    this.middle = { x: 0.5, y: 0.5 }; // the place of the picture in the middle of the view
    this.split = 0;
    this.pointers = new Map();
    this.after = h('img', { class: 'after', alt: '', draggable: 'false' });
    this.before = h('img', { class: 'before', alt: '', draggable: 'false' });
    this.plane = h('div', { class: 'plane' }, this.after, this.before);
    this.handle = h('div', { class: 'split', role: 'slider', tabindex: '0', 'data-key': 'split', 'aria-valuemin': '0', 'aria-valuemax': '100' }, h('span', { class: 'grip' }));
    this.view = h('div', { class: 'view', tabindex: '0', role: 'group', 'data-key': 'view' }, this.plane);
    this.scale = h('output', { class: 'scale' });
    this.tools = h('div', { class: 'tools' },
      tool('minus', t('zoomOut'), () => this.zoomBy(1 / 1.5)), this.scale, tool('plus', t('zoomIn'), () => this.zoomBy(1.5)),
      h('button', { type: 'button', class: 'tool words', text: t('fit'), onclick: () => this.fit() }),
      h('button', { type: 'button', class: 'tool words', text: '1:1', title: t('pixels'), 'aria-label': t('pixels'), onclick: () => this.toPixels() }));
    this.view.append(this.handle);
    this.element = h('div', { class: 'viewer' }, this.view, this.tools);
    this.view.setAttribute('aria-label', label || t('viewer'));
    this.handle.setAttribute('aria-label', t('compareSlide'));
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.view);
  }

  // Shows a picture of that size; `before` is the address of what it was made from, or empty.
  show(address, { width, height }, { before = '', alt = '' } = {}) {
    const other = !this.size || Math.abs(this.size.width / this.size.height - width / height) > 0.02;
    this.size = { width, height };
    if (this.after.getAttribute('src') !== address) this.after.src = address;
    this.after.alt = alt;
    if (before) { if (this.before.getAttribute('src') !== before) this.before.src = before; } else this.before.removeAttribute('src');
    const compared = Boolean(before) && before !== address;
    this.handle.hidden = this.before.hidden = !compared;
    if (other) this.fit();
    this.draw();
  }

  // Shows nothing, until there is something.
  clear() {
    this.size = null;
    for (const image of [this.after, this.before]) image.removeAttribute('src');
    this.handle.hidden = this.before.hidden = true;
    this.scale.textContent = '';
  }

  listen() {
    const { view } = this;
    view.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event);
    }, { passive: false });
    view.addEventListener('pointerdown', (event) => {
      if (this.handle.contains(event.target)) return;
      view.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    view.addEventListener('pointermove', (event) => this.dragged(event));
    for (const end of ['pointerup', 'pointercancel']) view.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    view.addEventListener('dblclick', (event) => (this.zoom > 1.01 ? this.fit() : this.toPixels(event)));
    view.addEventListener('keydown', (event) => this.pressed(event));
    this.handle.addEventListener('pointerdown', (event) => { this.handle.setPointerCapture(event.pointerId); event.preventDefault(); this.handle.focus(); });
    this.handle.addEventListener('pointermove', (event) => {
      if (!this.handle.hasPointerCapture(event.pointerId)) return;
      const box = view.getBoundingClientRect();
      this.setSplit((event.clientX - box.left) / box.width);
    });
    this.handle.addEventListener('keydown', (event) => {
      const by = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.2, PageUp: 0.2, Home: -1, End: 1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.setSplit(this.shownSplit() + by);
    });
  }

  shownSplit() {
    const { left, width } = this.frame();
    const box = this.view.getBoundingClientRect();
    return clamp(this.split, Math.max(0, left / box.width), Math.min(1, (left + width) / box.width));
  }

  setSplit(share) {
    this.split = clamp(share, 0, 1);
    this.draw();
  }

  dragged(event) {
    const was = this.pointers.get(event.pointerId);
    if (!was) return;
    const others = [...this.pointers.values()].filter((one) => one.pointerId !== event.pointerId);
    this.pointers.set(event.pointerId, event);
    const { width, height } = this.frame();
    if (others.length) {
      const [other] = others;
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      this.zoomBy(apart(event) / Math.max(1, apart(was)), { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
    } else this.move((was.clientX - event.clientX) / width, (was.clientY - event.clientY) / height);
  }

  pressed(event) {
    const step = 0.1 / this.zoom;
    const act = {
      ArrowLeft: () => this.move(-step, 0), ArrowRight: () => this.move(step, 0), ArrowUp: () => this.move(0, -step), ArrowDown: () => this.move(0, step),
      '+': () => this.zoomBy(1.5), '=': () => this.zoomBy(1.5), '-': () => this.zoomBy(1 / 1.5), 0: () => this.fit(), 1: () => this.toPixels(),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    act();
  }

  // Screen pixels of one picture pixel when the whole fits.
  fitting() {
    const box = this.view.getBoundingClientRect();
    return Math.min(box.width / this.size.width, box.height / this.size.height) || 1;
  }

  frame() {
    const box = this.view.getBoundingClientRect();
    const scale = this.fitting() * this.zoom;
    const [width, height] = [this.size.width * scale, this.size.height * scale];
    return { scale, width, height, left: box.width / 2 - this.middle.x * width, top: box.height / 2 - this.middle.y * height };
  }

  move(x, y) {
    this.middle = { x: this.middle.x + x, y: this.middle.y + y };
    this.together();
  }

  zoomBy(factor, at = null) {
    if (!this.size) return;
    const box = this.view.getBoundingClientRect();
    const [x, y] = at ? [at.clientX - box.left - box.width / 2, at.clientY - box.top - box.height / 2] : [0, 0];
    const was = this.frame();
    const most = Math.max(MOST / this.fitting() / devicePixelRatio, 1);
    this.zoom = clamp(this.zoom * factor, 1, most);
    const is = this.frame();
    this.middle = { x: this.middle.x + x / was.width - x / is.width, y: this.middle.y + y / was.height - y / is.height };
    this.together();
  }

  toPixels(at = null) {
    this.zoomBy(1 / (devicePixelRatio * this.fitting() * this.zoom), at);
  }

  fit() {
    this.zoom = 1;
    this.middle = { x: 0.5, y: 0.5 };
    this.together();
  }

  together() {
    const half = 0.5 / this.zoom;
    const within = (place, over) => (over ? clamp(place, half, 1 - half) : 0.5);
    if (this.size) {
      const box = this.view.getBoundingClientRect();
      const { width, height } = this.frame();
      this.middle = {
        x: width > box.width ? clamp(this.middle.x, box.width / width / 2, 1 - box.width / width / 2) : within(this.middle.x, false),
        y: height > box.height ? clamp(this.middle.y, box.height / height / 2, 1 - box.height / height / 2) : within(this.middle.y, false),
      };
    }
    for (const one of this.mates ?? [this]) {
      one.zoom = this.zoom;
      one.middle = { ...this.middle };
      one.draw();
    }
  }

  draw() {
    if (!this.size) return;
    const { scale, width, height, left, top } = this.frame();
    const style = this.plane.style;
    style.width = `${width}px`;
    style.height = `${height}px`;
    style.transform = `translate(${left}px, ${top}px)`;
    this.element.classList.toggle('pixels', this.zoom > 1.05 && scale * devicePixelRatio >= 2);
    this.scale.textContent = `${Math.round(scale * devicePixelRatio * 100)} %`;
    const box = this.view.getBoundingClientRect();
    const split = this.shownSplit();
    const cut = clamp(((split * box.width - left) / width) * 100, 0, 100);
    this.before.style.clipPath = `inset(0 ${100 - cut}% 0 0)`;
    const at = split * box.width;
    this.handle.style.left = `${clamp(at, 17, box.width - 17)}px`;
    this.handle.classList.toggle('edge', at < 17 || at > box.width - 17);
    this.handle.style.top = `${Math.max(0, top)}px`;
    this.handle.style.height = `${Math.min(box.height, top + height) - Math.max(0, top)}px`;
    this.handle.setAttribute('aria-valuenow', String(Math.round(cut)));
  }
}

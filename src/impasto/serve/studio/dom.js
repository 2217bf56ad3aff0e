// Elements, and small things about the page that several modules need.

// An element. `props` sets attributes; functions named on* listen, `class` and `text` are what they say, and a value of
// false or null leaves an attribute out.
export function h(tag, props = {}, ...children) {
  const space = SVG.has(tag) ? 'http://www.w3.org/2000/svg' : null;
  const made = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name === 'text') made.textContent = value;
    else if (name === 'value') made.value = value;
    else if (name === 'checked') made.checked = value;
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const SVG = new Set(['svg', 'path', 'polygon', 'circle', 'line', 'g']);

const ICONS = {
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  close: 'M6 6l12 12M18 6L6 18',
  undo: 'M9 7L4 12l5 5M4 12h10a6 6 0 0 1 0 12',
  download: 'M12 4v11m-5-5l5 5 5-5M5 20h14',
  large: 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5',
  link: 'M9 15l6-6M10 6l2-2a4 4 0 0 1 6 6l-2 2M14 18l-2 2a4 4 0 0 1-6-6l2-2',
  picture: 'M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01',
  camera: 'M4 8h3l2-3h6l2 3h3v11H4zM12 10a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z',
  search: 'M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.5 15.5L20 20',
  again: 'M20 12a8 8 0 1 1-2.5-5.8M20 3v5h-5',
  bin: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
  brush: 'M20 4L10 14M8 14c-3 0-3 4-5 5 4 2 8 0 8-3z',
  moon: 'M19 14A8 8 0 1 1 10 4a6.5 6.5 0 0 0 9 10z',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5L19 19M5 19l1.5-1.5M17.5 6.5L19 5',
};

export function icon(name) {
  const lines = h('path', { d: ICONS[name] });
  return h('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' }, lines);
}

export const find = (id) => document.getElementById(id);

// Gives an element new children, and the focus back to what had it, known by its data-key.
export function fill(parent, ...children) {
  const key = parent.contains(document.activeElement) ? document.activeElement.dataset?.key : null;
  parent.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (key) parent.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

// Says something for a while; `kind` is "error" or empty. An error stays until it is closed.
export function toast(words, { hint = '', kind = '', action = null } = {}) {
  const box = h('div', { class: `toast ${kind}` }, h('div', {}, h('strong', { text: words }), hint && h('p', { text: hint })));
  const close = () => box.remove();
  if (action) box.append(h('button', { type: 'button', onclick: () => { close(); action.act(); }, text: action.text }));
  box.append(h('button', { type: 'button', class: 'plain', 'aria-label': '×', onclick: close }, icon('close')));
  const all = find('toasts');
  for (const old of [...all.children]) if (old.textContent === box.textContent) old.remove();
  all.append(box);
  if (kind !== 'error') setTimeout(close, 6000);
}

// Says something to people who hear the page.
export function speak(words) {
  find('spoken').textContent = words;
}

// A button with a picture, and words for all who do not see it.
export function tool(name, words, onclick, more = {}) {
  return h('button', { type: 'button', class: 'tool', 'aria-label': words, title: words, onclick, ...more }, icon(name));
}

// A dialog that covers the page; it is removed when it is closed.
export function dialog(title, closeWords, ...children) {
  const box = h('dialog', { class: 'dialog', 'aria-label': title },
    h('header', {}, h('h2', { text: title }), tool('close', closeWords, () => box.close())), ...children);
  box.addEventListener('close', () => box.remove());
  box.addEventListener('click', (event) => { if (event.target === box) box.close(); });
  document.body.append(box);
  box.showModal();
  return box;
}

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export function save(blobOrAddress, name) {
  const made = typeof blobOrAddress !== 'string';
  const address = made ? URL.createObjectURL(blobOrAddress) : blobOrAddress;
  const anchor = h('a', { href: address, download: name });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  if (made) setTimeout(() => URL.revokeObjectURL(address), 60000);
}

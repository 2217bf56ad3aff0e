// The settings of the method that will paint, made from its schema.

import { fill, h } from './dom.js';
import { change, defaultOf, methodFor, state, watch } from './state.js';
import { knobHelp, knobName, t } from './text.js';

const FIRST = ['strength', 'style_scale', 'content_weight', 'style_weight', 'detail'];
const SPAN = 16; // a weight without a natural end goes from a sixteenth of its default to sixteen times it

function set(name, value) {
  change({ values: { ...state.values, [name]: value } });
}

// Where on a slider from 0 to 1000 a value lies, and the value there: evenly, or by ratios.
export function scaleOf(property, usual) {
  const { minimum, maximum, type } = property;
  const whole = type === 'integer';
  const tidy = (value) => (whole ? Math.round(value) : Number(value.toPrecision(3)));
  const ratio = maximum / Math.max(minimum, 1e-9) > 60 && usual > 0;
  if (ratio) {
    const [low, high] = [Math.max(minimum, usual / SPAN), Math.min(maximum, usual * SPAN)];
    return {
      place: (value) => (1000 * Math.log(Math.max(value, low) / low)) / Math.log(high / low),
      value: (place) => (place === 0 && minimum === 0 ? 0 : tidy(low * (high / low) ** (place / 1000))),
    };
  }
  const high = maximum > 64 && usual <= 4 ? 8 : maximum;
  return { place: (value) => (1000 * (value - minimum)) / (high - minimum), value: (place) => tidy(minimum + ((high - minimum) * place) / 1000) };
}

function control(method, name) {
  const property = method.settings.properties[name];
  const usual = defaultOf(method, name);
  const value = state.values[name] ?? usual;
  const help = knobHelp(name, property.description);
  const id = `knob-${name}`;
  const label = h('label', { for: id, text: knobName(name), title: help });
  if (property.enum) {
    const choices = property.enum.filter((choice) => choice !== 'file');
    const select = h('select', { id, title: help, 'data-key': id, onchange: (event) => set(name, event.target.value) }, choices.map((choice) => h('option', { value: choice, text: choice })));
    select.value = value;
    return h('div', { class: 'control' }, label, select);
  }
  if (property.type !== 'number' && property.type !== 'integer') return null;
  const scale = scaleOf(property, usual);
  const number = h('input', { type: 'number', id, min: String(property.minimum), max: String(property.maximum), step: property.type === 'integer' ? '1' : 'any', value: String(value), title: help, 'data-key': id });
  const slider = h('input', { type: 'range', min: '0', max: '1000', value: String(scale.place(value)), 'aria-label': knobName(name), 'data-key': `${id} slider`, title: help });
  const apply = (next) => {
    if (!Number.isFinite(next) || next < property.minimum || next > property.maximum) return number.setAttribute('aria-invalid', 'true');
    number.removeAttribute('aria-invalid');
    return set(name, next);
  };
  slider.addEventListener('input', () => {
    const next = scale.value(Number(slider.value));
    number.value = String(next);
    apply(next);
  });
  number.addEventListener('input', () => {
    const next = Number(number.value);
    slider.value = String(scale.place(next));
    apply(next);
  });
  return h('div', { class: 'control' }, label, number, slider);
}

function choice(title, value, options, onchange) {
  const id = `choice-${options.map(([key]) => key).join('')}`;
  const select = h('select', { id, 'data-key': id, onchange: (event) => onchange(event.target.value) }, options.map(([key, words]) => h('option', { value: key, text: words })));
  select.value = value;
  return h('div', { class: 'control' }, h('label', { for: id, text: title }), select);
}

let shownFor = '';

export function controlsPart() {
  const element = h('div', { class: 'part controls' });
  shownFor = '';
  show(element);
  watch((changed) => {
    if (element.isConnected && ['quality', 'method', 'chosen', 'methods', 'about'].some((name) => changed.has(name))) show(element);
  });
  return element;
}

function show(element, force = false) {
  const method = methodFor(state.quality);
  if (!method) return;
  const key = `${method.name} ${state.quality} ${state.method}`;
  if (key === shownFor && !force && element.childElementCount) return;
  shownFor = key;
  const names = Object.keys(method.settings.properties);
  const first = FIRST.filter((name) => names.includes(name));
  const rest = names.filter((name) => !first.includes(name)).map((name) => control(method, name)).filter(Boolean);
  const methods = [['auto', t('automatic')], ...state.methods.filter((row) => !row.trained).map((row) => [row.name, row.name])];
  const open = element.querySelector('details')?.open;
  fill(element, first.map((name) => control(method, name)),
    choice(t('keepColor'), state.keepColor, [['', t('keepNone')], ['luminance', t('keepLuminance')], ['histogram', t('keepHistogram')]], (keepColor) => change({ keepColor })),
    h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: state.protect, 'data-key': 'protect', onchange: (event) => change({ protect: event.target.checked }) }), t('protect')),
    h('details', { open }, h('summary', { text: t('more') }),
      !method.trained && choice(t('method'), state.method, methods, (name) => change({ method: name })),
      !method.trained && h('p', { class: 'quiet', text: method.summary }),
      rest,
      choice(t('format'), state.format, [['png', 'PNG'], ['jpg', 'JPEG'], ['webp', 'WebP']], (format) => change({ format }))),
    h('button', { type: 'button', class: 'plain', text: t('reset'), onclick: () => { change({ values: {}, keepColor: '', protect: false, method: 'auto' }); show(element, true); } }));
}

// Training a style: one painting, a name, some minutes.

import { dialog, h } from './dom.js';
import { beginTraining } from './jobs.js';
import { isTrained, state, titleOf } from './state.js';
import { t } from './text.js';

export function trainDialog() {
  const { training } = state.about;
  const known = state.own.filter(({ id }) => !state.chosen.some((one) => one.id === id));
  const ids = [...state.chosen.map(({ id }) => id).filter((id) => !isTrained(id)), ...known.map(({ id }) => id)];
  if (!training.offered) return dialog(t('train'), t('close'), h('p', { text: t('trainNot') }), h('p', { class: 'quiet', text: training.why_not }));
  if (!ids.length) return dialog(t('train'), t('close'), h('p', { text: t('trainFirst') }));
  const painting = h('select', { id: 'train-painting' }, ids.map((id) => h('option', { value: id, text: titleOf(id) })));
  const name = h('input', { id: 'train-name', type: 'text', maxlength: '40', value: plain(titleOf(ids[0])), required: true, pattern: '\\p{L}[\\p{L}\\p{N} _\\-]*' });
  const minutes = h('input', { id: 'train-minutes', type: 'number', min: '0.01', max: String(training.most_minutes), step: 'any', value: String(training.minutes), required: true });
  painting.addEventListener('change', () => { name.value = plain(titleOf(painting.value)); });
  const field = (input, words) => h('div', { class: 'control' }, h('label', { for: input.id, text: words }), input);
  const form = h('form', { class: 'part', onsubmit: (event) => { event.preventDefault(); box.close(); beginTraining(formOf(painting.value, name.value.trim(), minutes.value)); } },
    h('p', { text: t('trainText') }), field(painting, t('trainPainting')), field(name, t('trainName')), field(minutes, t('trainMinutes')),
    h('div', { class: 'row' }, h('button', { class: 'primary', text: t('trainStart') })));
  const box = dialog(t('train'), t('close'), form);
  return box;
}

// A name that the service takes: letters first, no signs.
const plain = (title) => title.replace(/[^\p{L}\p{N} _-]/gu, '').replace(/^[^\p{L}]+/u, '').slice(0, 40).trim() || 'style';

function formOf(id, name, minutes) {
  const form = new FormData();
  const own = state.own.find((one) => one.id === id);
  if (own) form.append('style', own.blob, 'painting.jpg');
  else form.append('style', id);
  form.append('name', name);
  form.append('minutes', minutes);
  return form;
}

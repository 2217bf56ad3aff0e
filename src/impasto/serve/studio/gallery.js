// What was painted: stars, comparing, and averages.

import { blob, json, picture, post } from './api.js';
import { dialog, fill, h, icon, save, tool } from './dom.js';
import { download, ended, forget, hasMore, isFilm, isTraining, load, newestFirst, resultOf } from './jobs.js';
import { refused } from './refused.js';
import { change, state, titleOf, watch } from './state.js';
import { knobName, t } from './text.js';
import { Viewer } from './viewer.js';

const MOST = 4;
const ticked = new Set();
let stars = new Map();

export async function loadRatings() {
  const { ratings } = await json('/v1/ratings');
  stars = new Map(ratings.map((one) => [one.job, one.stars]));
  return ratings;
}

// What a job was painted with, in a few words.
export function caption(job) {
  if (isTraining(job)) return t('trainingOf', job.settings.name ?? (job.settings.style ? titleOf(job.settings.style) : job.result?.name.replace(/\.\w+$/, '') ?? t('mine')));
  const ids = (job.settings.style ?? []).map((text) => text.replace(/:[\d.]+$/, ''));
  const regions = (job.settings.region ?? []).map((text) => text.slice(text.indexOf('=') + 1));
  const names = [...ids, ...regions].map(titleOf);
  const own = (job.settings.weight ?? []).length;
  return [...names, ...(own ? [t('mine')] : [])].join(' + ') || job.result?.name || '';
}

export function starsFor(id, { onrated = () => {} } = {}) {
  const group = h('div', { class: 'stars', role: 'radiogroup', 'aria-label': t('rate') });
  const show = () => {
    const given = stars.get(id) ?? 0;
    fill(group, [1, 2, 3, 4, 5].map((count) => h('button', {
      type: 'button', role: 'radio', 'aria-checked': String(given === count), 'aria-label': t('star', count), 'data-key': `star ${id} ${count}`,
      tabindex: (given || 1) === count ? '0' : '-1', class: count <= given ? 'on' : '', text: '★', onclick: () => rate(count),
    })));
  };
  const rate = async (count) => {
    try {
      await post(`/v1/jobs/${id}/rating`, { stars: count });
      stars.set(id, count);
      show();
      onrated(count);
    } catch (error) {
      refused(error);
    }
  };
  group.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    const given = Number(event.key) || (by && Math.min(5, Math.max(1, (stars.get(id) ?? 0) + by)));
    if (!given || given > 5) return;
    event.preventDefault();
    event.stopPropagation();
    rate(given).then(() => group.querySelector('[aria-checked=true]')?.focus());
  });
  show();
  return group;
}

function card(one, again) {
  const { job } = one;
  const style = isTraining(job);
  const image = h('img', { alt: caption(job), loading: 'lazy', width: String(job.result.width || 3), height: String(job.result.height || 2) });
  picture(`/v1/jobs/${job.id}/thumbnail?side=512`).then((address) => { image.src = address; }, () => {});
  const tick = h('input', { type: 'checkbox', checked: ticked.has(job.id), 'aria-label': t('tick'), onchange: (event) => {
    if (event.target.checked) ticked.add(job.id); else ticked.delete(job.id);
    again();
  } });
  tick.disabled = !ticked.has(job.id) && ticked.size >= MOST;
  const open = () => change({ shown: { kind: 'job', id: job.id }, view: 'paint' });
  return h('article', { class: 'card' },
    h('button', { type: 'button', class: 'picture', 'aria-label': t('open', caption(job)), 'data-key': `open ${job.id}`, onclick: open }, image),
    !style && !isFilm(job) && h('label', { class: 'tick', title: t('tick') }, tick),
    isFilm(job) && h('span', { class: 'kind', text: t('video') }),
    h('div', { class: 'under' }, h('span', { class: 'title', text: caption(job) }), h('span', { class: 'quiet', text: style ? t('trained') : `${job.method}, ${job.result.width} × ${job.result.height}` }),
      h('div', { class: 'row' }, !style && starsFor(job.id), h('span', { class: 'grow' }), tool('download', t('download'), () => download(job.id)), tool('bin', t('forget'), () => forget(job.id)))));
}

export function galleryView() {
  const cards = h('div', { class: 'cards' });
  const bar = h('div', { class: 'row head' });
  const element = h('section', { class: 'gallery', 'aria-label': t('gallery') }, bar, cards);
  const show = () => {
    const found = newestFirst().filter((one) => ended(one) && one.job.result);
    for (const id of ticked) if (!found.some(({ job }) => job.id === id)) ticked.delete(id);
    fill(bar, h('h2', { text: t('gallery') }), h('span', { class: 'quiet grow', text: found.length > 1 ? t('compareHint') : '' }),
      h('button', { type: 'button', class: 'primary', text: `${t('compare')} (${ticked.size})`, disabled: ticked.size < 2, 'data-key': 'compare', onclick: compare }));
    fill(cards, found.map((one) => card(one, show)), !found.length && h('p', { class: 'empty', text: t('noJobs') }),
      hasMore() && h('button', { type: 'button', class: 'more', text: t('loadMore'), onclick: () => load({ more: true }).catch(refused) }));
  };
  let known = '';
  const signature = () => newestFirst().filter(ended).map(({ job }) => job.id).join();
  show();
  watch((changed) => {
    if (!element.isConnected || !(changed.has('jobs') || changed.has('styles')) || signature() === known) return;
    known = signature();
    show();
  });
  Promise.all([load(), loadRatings()]).then(show, refused);
  return element;
}

// Two to four pictures side by side; they zoom and move together.
async function compare() {
  const mates = [];
  const panes = [...ticked].map((id) => {
    const { job } = state.jobs.get(id);
    const viewer = new Viewer({ mates, label: caption(job) });
    resultOf(id).then((result) => viewer.show(result.address, result, { alt: caption(job) }), refused);
    const differs = Object.entries(job.settings).filter(([name]) => !['style', 'weight', 'region', 'format', 'size'].includes(name)).map(([name, value]) => `${knobName(name.replaceAll('-', '_'))} ${value}`);
    return h('figure', {}, viewer.element, h('figcaption', {}, h('span', { class: 'grow' }, h('b', { text: caption(job) }), ` ${job.method} ${differs.join(', ')}`), starsFor(id)));
  });
  const box = dialog(t('compare'), t('close'), h('div', { class: `panes of${panes.length}` }, panes));
  box.classList.add('whole');
}

// --- averages

function table(title, rows) {
  const body = rows.map(([name, { sum, count }]) => h('tr', {}, h('th', { scope: 'row', text: name }),
    h('td', {}, h('meter', { min: '0', max: '5', value: String(sum / count), 'aria-hidden': 'true' }), h('span', { text: (sum / count).toFixed(2) })), h('td', { text: String(count) })));
  return h('table', {}, h('caption', { text: title }), h('thead', {}, h('tr', {}, h('th', { text: '' }), h('th', { scope: 'col', text: t('average') }), h('th', { scope: 'col', text: t('count') }))), h('tbody', {}, body));
}

export function averages(ratings, key) {
  const groups = new Map();
  for (const one of ratings) {
    const { sum, count } = groups.get(one[key]) ?? { sum: 0, count: 0 };
    groups.set(one[key], { sum: sum + one.stars, count: count + 1 });
  }
  return [...groups].sort(([, a], [, b]) => b.sum / b.count - a.sum / a.count || b.count - a.count);
}

export function ratingsView() {
  const body = h('div', { class: 'tables' });
  const csv = h('button', { type: 'button', onclick: exportCsv }, icon('download'), t('csv'));
  loadRatings().then((ratings) => {
    fill(body, ratings.length ? [table(t('byMethod'), averages(ratings, 'method')), table(t('byStyle'), averages(ratings, 'style'))] : h('p', { class: 'empty', text: t('noRatings') }));
    csv.disabled = !ratings.length;
  }, refused);
  return h('section', { class: 'ratings', 'aria-label': t('ratings') }, h('div', { class: 'row head' }, h('h2', { class: 'grow', text: t('ratings') }), csv), body);
}

async function exportCsv() {
  try {
    save(await blob('/v1/ratings?format=csv'), 'ratings.csv');
  } catch (error) {
    refused(error);
  }
}

// The page: the stage with the picture, the panel with the settings, and what goes on between them.

import { blob, json, onPresence, picture } from './api.js';
import { dialog, fill, find, h, icon, speak, toast, tool } from './dom.js';
import { controlsPart } from './controls.js';
import { caption, galleryView, loadRatings, ratingsView, starsFor } from './gallery.js';
import { begin, cancel, download, downloadSettings, ended, enlarge, isFilm, isTraining, load, newestFirst, resultOf, secondsLeft } from './jobs.js';
import * as kept from './kept.js';
import { wherePart } from './mask.js';
import { isVideo, readPhoto, readVideo } from './photo.js';
import { refused } from './refused.js';
import { fitting, fromLink, toLink } from './share.js';
import { change, formOf, methodFor, recipe, restore, state, watch, withAddress } from './state.js';
import { addOwn, stylesPart } from './styles.js';
import { duration, language, t } from './text.js';
import { Viewer } from './viewer.js';

const THEME = 'impasto-theme';
const DRAFT_SIDE = 512;
const SIZES = [512, 768, 1024, 1536, 2048, 0];
let tab = 'paintings';
let viewer = null;
let draft = null; // {address, width, height, seconds, key}

// --- the picture that is painted

async function setPhoto(files) {
  const [file] = files;
  if (!file) return null;
  if (files.length > 1) toast(t('several'));
  try {
    const { limits } = state.about;
    if (isVideo(file) && !limits.video_seconds) return toast(t('noVideos'), { kind: 'error' });
    if (file.size > limits.body_bytes && isVideo(file)) return toast(t('tooLarge'), { hint: t('megabytes', Math.floor(limits.body_bytes / 1e6)), kind: 'error' });
    const photo = withAddress(await (isVideo(file) ? readVideo(file) : readPhoto(file, limits)));
    if (photo.video?.seconds > limits.video_seconds + 0.5) toast(t('firstSeconds', limits.video_seconds));
    if (photo.shrunk) toast(t('shrunk', Math.round(photo.shrunk / 1e6)));
    draft = null;
    return change({ photo, masks: {}, shown: { kind: 'photo' }, view: 'paint' });
  } catch (error) {
    return refused(error);
  }
}

function photoInput(words, more = {}) {
  const input = h('input', { type: 'file', accept: 'image/*,video/*,.heic,.heif,.tif,.tiff,.mkv', class: 'unseen', onchange: (event) => { setPhoto([...event.target.files]); event.target.value = ''; }, ...more });
  return h('label', { class: more.capture ? 'button' : 'button primary' }, input, icon(more.capture ? 'camera' : 'picture'), words);
}

function emptyStage() {
  return h('div', { class: 'welcome' }, h('div', { class: 'invitation' }, h('h2', { text: t('dropTitle') }), h('p', { text: t('dropText') }),
    h('div', { class: 'row' }, photoInput(t('choose'), { id: 'photo-input' }), matchMedia('(pointer: coarse)').matches && photoInput(t('camera'), { capture: 'environment' }))));
}

function listenForPictures() {
  let depth = 0;
  const over = (on) => document.body.classList.toggle('dropping', on);
  addEventListener('dragenter', (event) => { event.preventDefault(); depth += 1; over(true); });
  addEventListener('dragleave', () => { depth -= 1; if (depth <= 0) over(false); });
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) (event.target.closest?.('.panel') ? addOwn : setPhoto)(files);
  });
  addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) setPhoto(files);
  });
}

// --- drafts: small, at once, and again after each change

let drafting = null;
let draftTimer = 0;

function askForDraft() {
  clearTimeout(draftTimer);
  draftTimer = setTimeout(makeDraft, 300);
}

async function makeDraft() {
  if (!state.photo || !state.chosen.length || !state.methods.length) return;
  const made = recipe('draft', Math.min(DRAFT_SIDE, Math.max(state.photo.width, state.photo.height)), { format: 'jpg', draft: true });
  const key = JSON.stringify([state.photo.id, made.settings, made.parts.map((part) => [part.field, part.blob.size, part.name]), Object.values(state.masks).map((mask) => mask.address)]);
  if (draft?.key === key) return;
  drafting?.abort();
  const controller = new AbortController();
  drafting = controller;
  draft = { ...draft, key };
  change({ shown: { kind: 'draft' }, drafting: true });
  const started = performance.now();
  try {
    const data = await blob('/v1/stylize', { method: 'POST', body: formOf(made, state.photo, state.photo.draft), signal: controller.signal });
    const size = await sizeOf(data);
    if (draft?.address) URL.revokeObjectURL(draft.address);
    draft = { key, address: URL.createObjectURL(data), ...size, seconds: (performance.now() - started) / 1000 };
    change({ drafting: false });
  } catch (error) {
    if (draft?.key === key) draft = { ...draft, key: '' };
    if (drafting === controller) change({ drafting: false });
    if (error.status === 0) wanted = true;
    else refused(error);
  }
}

let wanted = false; // a draft that the service could not make when it was away

async function sizeOf(data) {
  const bitmap = await createImageBitmap(data);
  const size = { width: bitmap.width, height: bitmap.height };
  bitmap.close();
  return size;
}

function paint() {
  if (!state.photo) {
    toast(t('needPhoto'));
    return find('photo-input')?.click();
  }
  if (!state.chosen.length) {
    setTab('paintings');
    return toast(t('needStyle'));
  }
  clearTimeout(draftTimer); // a draft that comes late shall not hide the job
  drafting?.abort();
  change({ drafting: false });
  return begin(recipe(state.quality, state.size), state.photo);
}

// --- the stage

let stage = null;
let badge = null;
let film = null;

function buildStage() {
  viewer = new Viewer();
  badge = h('div', { class: 'badge' });
  film = h('div', { class: 'film', role: 'group', 'aria-label': t('queue') });
  stage = h('div', { class: 'stage' });
  return h('section', { class: 'work', 'aria-label': t('painting') }, h('div', { class: 'easel' }, stage, badge), film);
}

async function showStage() {
  if (!stage?.isConnected) return;
  const { shown, photo } = state;
  const one = shown?.kind === 'job' ? state.jobs.get(shown.id) : null;
  if (!photo && !one) {
    if (!stage.querySelector('.welcome')) fill(stage, emptyStage());
    showBadge(null);
    return;
  }
  const plays = one?.job.result && ended(one) && isFilm(one.job);
  if (!plays && !viewer.element.isConnected) fill(stage, viewer.element);
  const before = await beforeOf(one);
  if (state.shown !== shown) return;
  if (one && isTraining(one.job)) await showSheet(one, shown);
  else if (one?.job.result && ended(one) && isFilm(one.job)) await showFilmResult(one, shown);
  else if (one?.job.result && ended(one)) {
    const result = await resultOf(one.job.id).catch((error) => refused(error));
    if (result && state.shown === shown) viewer.show(result.address, result, { before, alt: caption(one.job) });
  } else if (one?.preview) viewer.show(one.preview, photo ?? { width: 4, height: 3 }, { before, alt: t('refining') });
  else if (shown?.kind !== 'photo' && draft?.address && photo) viewer.show(draft.address, photo, { before, alt: t('isDraft') });
  else if (photo) viewer.show(photo.address, photo, { alt: t('photograph') });
  showBadge(one);
}

async function showFilmResult({ job }, shown) {
  const result = await resultOf(job.id).catch((error) => refused(error));
  if (!result || state.shown !== shown || stage.querySelector('video')?.src === result.address) return;
  const player = h('video', { class: 'plays', controls: true, loop: true, autoplay: true, playsinline: true, 'aria-label': t('playVideo') });
  player.muted = true;
  player.src = result.address;
  fill(stage, player);
}

// The newest sheet of a training: how it paints photographs that it does not learn from.
async function showSheet(one, shown) {
  let { preview, previewSize } = one;
  if (!preview && one.job.result) {
    const sheet = await blob(`/v1/jobs/${one.job.id}/thumbnail?side=1024`).catch(() => null);
    if (sheet) [preview, previewSize] = [URL.createObjectURL(sheet), await sizeOf(sheet)];
    one.preview = preview;
    one.previewSize = previewSize;
  }
  if (state.shown !== shown) return;
  if (preview) viewer.show(preview, previewSize, { alt: t('training') });
  else viewer.clear();
}

// What a picture was made from.
const befores = new Map();

async function beforeOf(one) {
  const id = one?.job.id;
  if (!id || id.startsWith('local-')) return state.photo?.address ?? '';
  if (!befores.has(id)) {
    const photo = (await kept.jobParts(id))?.photo;
    befores.set(id, photo ? (photo.id === state.photo?.id ? state.photo.address : URL.createObjectURL(photo.draft)) : '');
  }
  return befores.get(id);
}

function words(one) {
  const { job } = one;
  if (job.state === 'sending') return `${t('sending')} ${Math.round(one.sent * 100)} %`;
  if (job.state === 'queued') return t('waiting');
  if (job.state === 'running') {
    const left = secondsLeft(one);
    const doing = isTraining(job) ? 'training' : isFilm(job) ? 'paintingVideo' : 'refining';
    return [`${t(doing)} ${Math.round(one.share * 100)} %`, left !== null && t('left', duration(left))].filter(Boolean).join(' · ');
  }
  if (job.state === 'done') return t('isDone', duration(job.result?.seconds ?? job.finished - job.started));
  return job.state === 'cancelled' ? t(job.result ? 'stopped' : 'stoppedEmpty') : t('failed');
}

let badgeKey = '';

function showBadge(one) {
  const drafts = state.shown?.kind === 'draft';
  const text = one ? words(one) : state.drafting ? t('drafting') : drafts && draft?.seconds ? `${t('isDraft')} · ${duration(draft.seconds)}` : '';
  badge.hidden = !text;
  const key = one ? `${one.job.id} ${one.job.state}` : `${drafts} ${state.drafting}`;
  if (key !== badgeKey || !badge.firstChild) {
    badgeKey = key;
    const { job } = one ?? {};
    const open = job && !ended(one);
    fill(badge, h('span', { class: 'told' }), (open || state.drafting) && h('progress', { max: '1', 'aria-label': text }),
      open && h('button', { type: 'button', text: t('cancel'), 'data-key': 'cancel', onclick: () => cancel(job.id) }),
      job?.result && ended(one) && resultTools(job));
    if (text) speak(text);
  }
  badge.querySelector('.told').textContent = text;
  const progress = badge.querySelector('progress');
  if (progress && one?.job.state === 'running' && one.share) progress.value = one.share;
  else if (progress && one?.job.state === 'sending') progress.value = one.sent;
}

function resultTools(job) {
  if (isTraining(job)) {
    return h('div', { class: 'row' }, h('button', { type: 'button', class: 'primary', text: t('useStyle'), 'data-key': 'use', onclick: () => change({ chosen: [{ id: `trained:${job.id}`, weight: 1 }], shown: { kind: 'photo' } }) }),
      tool('download', t('download'), () => download(job.id)));
  }
  return h('div', { class: 'row' }, starsFor(job.id),
    h('button', { type: 'button', class: 'primary', 'data-key': 'download', onclick: () => download(job.id) }, icon('download'), t('download')),
    !isFilm(job) && tool('large', t('large'), () => largeDialog(job)), tool('again', t('again'), () => again(job)),
    h('button', { type: 'button', class: 'tool words', text: '{ }', title: t('downloadSettings'), 'aria-label': t('downloadSettings'), onclick: () => downloadSettings(job.id) }));
}

function largeDialog(job) {
  const box = dialog(t('large'), t('close'), h('p', { text: t('largeText') }), h('div', { class: 'row' },
    [1536, 2048, 3072, 4096, 0].map((size) => h('button', { type: 'button', text: size ? t('px', size) : t('ownSize'), onclick: () => { box.close(); enlarge(job.id, size); } }))));
}

// Put the settings of a picture back in place, and its photograph.
async function again(job) {
  const made = await kept.jobParts(job.id);
  const { settings } = job;
  const chosen = (settings.style ?? []).map((text) => ({ id: text.replace(/:[\d.]+$/, ''), weight: Number(/:([\d.]+)$/.exec(text)?.[1] ?? 1) })).filter(({ id }) => state.styles.some((style) => style.id === id));
  const changes = { quality: settings.quality ?? 'draft', size: settings.size ?? 0, method: settings.method ?? 'auto', keepColor: settings['keep-color'] ?? '', protect: Boolean(settings['protect-faces']), values: fitting(settings) };
  change({ ...changes, ...(chosen.length ? { chosen } : {}), ...(made?.photo?.blob ? { photo: withAddress(made.photo), masks: {} } : {}) });
  buildPanel();
  toast(t('linkRead'));
}

let filmKey = '';

function showFilm() {
  if (!film?.isConnected) return;
  const jobs = newestFirst().slice(0, 12);
  const key = jobs.map(({ job }) => `${job.id} ${job.state}`).join() + state.shown?.id;
  if (key !== filmKey) {
    filmKey = key;
    fill(film, jobs.map(frame));
    film.hidden = !jobs.length;
  }
  for (const one of jobs) {
    const bar = film.querySelector(`[data-job="${one.job.id}"] progress`);
    if (bar && one.share) bar.value = one.share;
  }
}

const small = new Map(); // pictures of finished jobs by id

function frameImage(one) {
  const { job } = one;
  if (small.has(job.id)) return small.get(job.id);
  const image = h('img', { alt: '', width: '64', height: '64' });
  if (job.result && ended(one)) {
    small.set(job.id, image);
    picture(`/v1/jobs/${job.id}/thumbnail?side=128`).then((address) => { image.src = address; }, () => small.delete(job.id));
  } else if (state.photo) image.src = state.photo.address;
  return image;
}

function frame(one) {
  const { job } = one;
  const image = frameImage(one);
  const label = `${caption(job)}: ${words(one)}`;
  return h('div', { class: `frame ${job.state}`, 'data-job': job.id },
    h('button', { type: 'button', class: 'picture', 'aria-label': label, title: label, 'aria-pressed': String(state.shown?.id === job.id), 'data-key': `frame ${job.id}`, onclick: () => change({ shown: { kind: 'job', id: job.id } }) }, image),
    !ended(one) && h('progress', { max: '1', 'aria-label': label }),
    !ended(one) && tool('close', t('cancel'), () => cancel(job.id)));
}

// --- the panel

let panel = null;

function buildPanel() {
  if (!panel) return;
  const tabs = ['paintings', 'adjust', 'where'];
  const strip = h('div', { class: 'tabs', role: 'tablist' }, tabs.map((name) => h('button', {
    type: 'button', role: 'tab', id: `tab-${name}`, 'aria-selected': String(name === tab), 'aria-controls': 'part', tabindex: name === tab ? '0' : '-1', 'data-key': `tab ${name}`, text: t(name), onclick: () => setTab(name),
  })));
  strip.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    setTab(tabs[(tabs.indexOf(tab) + by + tabs.length) % tabs.length]);
    find(`tab-${tab}`).focus();
  });
  const part = { paintings: stylesPart, adjust: controlsPart, where: wherePart }[tab];
  fill(panel, photoRow(), strip, h('div', { class: 'holder', id: 'part', role: 'tabpanel', 'aria-labelledby': `tab-${tab}`, tabindex: '-1' }, part()), action());
}

function setTab(name) {
  tab = name;
  buildPanel();
}

function photoRow() {
  const row = h('div', { class: 'photo' });
  const show = () => {
    const { photo } = state;
    row.hidden = !photo;
    if (!photo) return fill(row);
    return fill(row, h('img', { src: photo.address, alt: '' }), h('span', { class: 'grow' }, h('b', { text: photo.name }), h('span', { class: 'quiet', text: [`${photo.width} × ${photo.height}`, photo.video && (photo.video.seconds ? `${t('video')}, ${duration(photo.video.seconds)}` : t('video'))].filter(Boolean).join(' · ') })), h('div', { class: 'change' }, photoInput(t('change'))));
  };
  show();
  watch((changed) => { if (row.isConnected && changed.has('photo')) show(); });
  return row;
}

function action() {
  const element = h('div', { class: 'action' });
  const show = () => {
    const method = methodFor(state.quality);
    const onePass = method && method.kind === 'map' && methodFor('good')?.kind === 'map';
    const picks = h('div', { class: 'segments', role: 'radiogroup', 'aria-label': t('quality') }, ['draft', 'good', 'best'].map((quality) => h('label', {}, h('input', { type: 'radio', name: 'quality', value: quality, checked: state.quality === quality, 'data-key': `quality ${quality}`, onchange: () => change({ quality }) }), h('span', { text: t(quality) }))));
    const sizes = h('select', { 'aria-label': t('size'), 'data-key': 'size', onchange: (event) => change({ size: Number(event.target.value) }) }, [...new Set([...SIZES, state.size])].map((size) => h('option', { value: String(size), text: size ? t('px', size) : t('ownSize') })));
    sizes.value = String(state.size);
    const note = state.photo?.video ? t('videoPass') : onePass ? t('onePass') : '';
    fill(element, h('div', { class: 'row' }, note ? h('span', { class: 'quiet grow', text: note }) : picks, sizes, tool('link', t('link'), copyLink)),
      h('button', { type: 'button', class: 'primary paint', id: 'paint', 'data-key': 'paint', onclick: paint }, icon('brush'), t('paint')));
  };
  show();
  watch((changed) => { if (element.isConnected && ['quality', 'method', 'chosen', 'methods', 'size', 'photo'].some((name) => changed.has(name))) show(); });
  return element;
}

async function copyLink() {
  const link = toLink();
  const hint = state.chosen.some(({ id }) => id.startsWith('own:')) ? t('linkOwn') : '';
  history.replaceState(null, '', link);
  await navigator.clipboard?.writeText(link).catch(() => {});
  toast(t('linkCopied'), { hint });
}

// --- the page as a whole

let built = '';

function buildPage() {
  built = state.view;
  document.documentElement.lang = language.now === 'zh' ? 'zh-CN' : 'en';
  find('skip').textContent = t('skip');
  const views = ['paint', 'gallery', 'ratings'];
  const nav = find('views');
  nav.setAttribute('aria-label', t('views'));
  fill(nav, views.map((name) => h('button', { type: 'button', 'aria-current': state.view === name ? 'page' : null, 'data-key': `view ${name}`, text: t(name === 'paint' ? 'painting' : name), onclick: () => change({ view: name }) })));
  fill(find('options'), h('button', { type: 'button', class: 'tool words', 'aria-label': t('languageName'), title: t('languageName'), text: t('language'), 'data-key': 'language', onclick: () => { language.now = language.now === 'zh' ? 'en' : 'zh'; buildPage(); } }),
    tool(dark() ? 'sun' : 'moon', t('theme'), toggleTheme, { 'data-key': 'theme' }));
  const main = find('main');
  main.className = state.view;
  panel = null;
  if (state.view === 'gallery') return fill(main, galleryView());
  if (state.view === 'ratings') return fill(main, ratingsView());
  panel = h('aside', { class: 'panel', id: 'panel', 'aria-label': t('settings'), tabindex: '-1' });
  badgeKey = filmKey = '';
  fill(main, buildStage(), panel);
  buildPanel();
  showStage();
  return showFilm();
}

function dark() {
  const set = document.documentElement.dataset.theme;
  return set === 'auto' ? matchMedia('(prefers-color-scheme: dark)').matches : set === 'dark';
}

function toggleTheme() {
  const next = dark() ? 'light' : 'dark';
  localStorage.setItem(THEME, next);
  document.documentElement.dataset.theme = next;
  buildPage();
}

function shortcuts(event) {
  if (event.target.closest?.('dialog')) return;
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) paint();
}

const DRAWN_BY = ['photo', 'chosen', 'values', 'method', 'keepColor', 'masks', 'part'];

watch((changed) => {
  if (changed.has('view') && state.view !== built) buildPage();
  if (DRAWN_BY.some((name) => changed.has(name))) askForDraft();
  else if (changed.has('shown') && state.shown?.kind === 'job') clearTimeout(draftTimer); // a late draft shall not hide it
  if (['photo', 'shown', 'jobs', 'drafting'].some((name) => changed.has(name))) {
    showStage();
    showFilm();
  }
});

onPresence((there) => {
  const banner = find('banner');
  banner.hidden = there;
  banner.textContent = there ? '' : t('away');
  if (!there) return;
  toast(t('back'));
  start().catch(refused);
  if (wanted) makeDraft();
  wanted = false;
});

// What the service tells at the start, and after it was away.
async function start() {
  const [about, { methods }, { styles }] = await Promise.all([json('/v1/about'), json('/v1/methods'), json('/v1/styles')]);
  change({ about, methods, styles });
  await load();
  loadRatings().catch(() => {});
}

async function open() {
  document.documentElement.dataset.theme = localStorage.getItem(THEME) ?? 'auto';
  state.view = 'paint';
  await restore();
  buildPage();
  listenForPictures();
  addEventListener('keydown', shortcuts);
  await start();
  readLink();
  addEventListener('hashchange', readLink);
  const open = newestFirst().find((one) => !ended(one));
  if (open) change({ shown: { kind: 'job', id: open.job.id } });
  else if (state.photo) askForDraft();
  document.documentElement.dataset.ready = 'true';
}

function readLink() {
  const found = fromLink(location.hash);
  if (!found) return;
  history.replaceState(null, '', location.pathname);
  change(found.changes);
  buildPage();
  toast(t('linkRead'), { hint: found.missing ? t('styleGone') : '' });
}

open().catch(refused);

// Jobs: handed in, followed through lost connections and reloads, and what they came to.

import { ApiError, ask, blob, follow, json, submit, there } from './api.js';
import { save, speak, toast } from './dom.js';
import * as kept from './kept.js';
import { refused } from './refused.js';
import { change, formOf, state, titleOf } from './state.js';
import { t } from './text.js';

const LARGE = 'impasto-large';
const others = 'BroadcastChannel' in window ? new BroadcastChannel('impasto') : null;
const following = new Map(); // AbortControllers by id
const results = new Map(); // {address, width, height, blob} by id
let next = null; // where the following page of the gallery begins
let local = 0;

export const ended = (one) => ['done', 'failed', 'cancelled'].includes(one.job.state);
export const newestFirst = () => [...state.jobs.values()].sort((a, b) => b.job.created - a.job.created);
export const hasMore = () => Boolean(next);

function put(id, changes) {
  const jobs = new Map(state.jobs);
  jobs.set(id, { share: 0, stage: '', preview: '', sent: 1, ...jobs.get(id), ...changes });
  change({ jobs });
}

function take(id) {
  const jobs = new Map(state.jobs);
  jobs.delete(id);
  change({ jobs });
}

// Hand in a picture. It is tried again when the service comes back; the key makes that safe.
export async function begin(recipe, photo, { download = false, show = true } = {}) {
  const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  const id = `local-${local += 1}`;
  put(id, { job: { id, state: 'sending', created: Date.now() / 1000, settings: recipe.settings, method: '' }, sent: 0 });
  if (show) change({ shown: { kind: 'job', id } });
  const form = formOf(recipe, photo, photo.blob);
  while (true) {
    try {
      const job = await submit(form, key, (sent) => put(id, { sent }));
      await kept.keepJob(job.id, { ...photo, address: undefined, blob: photo.video ? null : photo.blob }, recipe.settings, recipe.parts);
      if (download) sessionStorage.setItem(LARGE, JSON.stringify([...large(), job.id]));
      const wasShown = state.shown?.id === id;
      take(id);
      put(job.id, { job });
      if (wasShown) change({ shown: { kind: 'job', id: job.id } });
      others?.postMessage('jobs');
      run(job.id);
      return job.id;
    } catch (error) {
      if (error.status === 0) {
        refused(error);
        await there();
        if (state.jobs.has(id)) continue;
        return null;
      }
      take(id);
      if (state.shown?.id === id) change({ shown: { kind: 'photo' } });
      refused(error, { action: { text: t('retry'), act: () => begin(recipe, photo, { download, show }) } });
      return null;
    }
  }
}

export const isTraining = (job) => job.kind === 'training';
export const isFilm = (job) => job.result?.media_type.startsWith('video/') || job.kind === 'video';

// Begin to train a style; the page goes on when the service has it.
export async function beginTraining(form) {
  try {
    const job = await json('/v1/trainings', { method: 'POST', body: form, extra: { 'Idempotency-Key': crypto.randomUUID?.() ?? String(Math.random()) } });
    put(job.id, { job });
    change({ shown: { kind: 'job', id: job.id }, view: 'paint' });
    others?.postMessage('jobs');
    run(job.id);
  } catch (error) {
    refused(error);
  }
}

// A style is ready: it hangs on the wall, and is chosen if its reader wants it.
async function trained(id) {
  const { styles } = await json('/v1/styles');
  change({ styles });
  toast(t('styleReady', titleOf(`trained:${id}`)), { action: { text: t('useStyle'), act: () => change({ chosen: [{ id: `trained:${id}`, weight: 1 }], view: 'paint' }) } });
}

const large = () => JSON.parse(sessionStorage.getItem(LARGE) ?? '[]');

// Follow a job to its end.
async function run(id) {
  if (following.has(id)) return;
  const controller = new AbortController();
  following.set(id, controller);
  try {
    for await (const { event, data } of follow(id, controller.signal)) heard(id, event, data);
  } catch (error) {
    if (error.status === 404) {
      take(id);
      toast(t('gone'), { kind: 'error' });
    } else refused(error);
  }
  following.delete(id);
}

function heard(id, event, data) {
  const known = state.jobs.get(id);
  if (!known) return;
  if (event === 'progress') put(id, { share: data.share, stage: data.stage, since: known.since ?? Date.now(), sinceShare: known.sinceShare ?? data.share });
  else if (event === 'preview') put(id, { preview: data.image, previewSize: { width: data.width, height: data.height } });
  else put(id, { job: data });
  if (event === 'done' || (event === 'cancelled' && data.result && isTraining(data))) finished(id).catch(refused);
  if (event === 'failed') refused(new ApiError(data.error.status, data.error.error, data.error.hint));
}

async function finished(id) {
  speak(t('done'));
  if (isTraining(state.jobs.get(id).job)) return trained(id);
  if (!large().includes(id)) return;
  sessionStorage.setItem(LARGE, JSON.stringify(large().filter((one) => one !== id)));
  toast(t('largeReady'));
  await download(id);
}

// Seconds that a job still takes, or null while that is not known.
export function secondsLeft({ share, since, sinceShare }) {
  const [gone, done] = [(Date.now() - since) / 1000, share - sinceShare];
  return gone > 2 && done > 0.03 ? (gone / done) * (1 - share) : null;
}

export async function load({ more = false } = {}) {
  const page = await json(`/v1/jobs?limit=40${more && next ? `&before=${next}` : ''}`);
  next = page.next;
  const jobs = new Map(state.jobs);
  for (const job of page.jobs) jobs.set(job.id, { share: 0, stage: '', preview: '', sent: 1, ...jobs.get(job.id), job });
  if (!more && !next) for (const [id] of jobs) if (!id.startsWith('local-') && !page.jobs.some((job) => job.id === id)) jobs.delete(id);
  change({ jobs });
  for (const job of page.jobs) if (!ended({ job })) run(job.id);
}

export async function cancel(id) {
  if (id.startsWith('local-')) return take(id);
  try {
    await ask(`/v1/jobs/${id}`, { method: 'DELETE' });
  } catch (error) {
    refused(error);
  }
}

export async function forget(id) {
  try {
    await ask(`/v1/jobs/${id}?forget=true`, { method: 'DELETE' });
    take(id);
    results.delete(id);
    kept.forgetJob(id);
    change({ styles: state.styles.filter((style) => style.id !== `trained:${id}`), chosen: state.chosen.filter((one) => one.id !== `trained:${id}`) });
    if (state.shown?.id === id) change({ shown: { kind: 'photo' } });
    others?.postMessage('jobs');
  } catch (error) {
    refused(error);
  }
}

// The picture of a job: {address, width, height, blob}.
export async function resultOf(id) {
  if (!results.has(id)) {
    const data = await blob(`/v1/jobs/${id}/result`);
    const { width, height } = state.jobs.get(id).job.result;
    results.set(id, { blob: data, address: URL.createObjectURL(data), width, height });
    if (results.size > 12) {
      const [oldest, { address }] = results.entries().next().value;
      results.delete(oldest);
      setTimeout(() => URL.revokeObjectURL(address), 5000);
    }
  }
  return results.get(id);
}

export async function download(id) {
  try {
    save((await resultOf(id)).blob, state.jobs.get(id).job.result.name);
  } catch (error) {
    refused(error);
  }
}

export function downloadSettings(id) {
  const { job } = state.jobs.get(id);
  const text = JSON.stringify({ method: job.method, settings: job.settings, result: job.result }, null, 1);
  save(new Blob([text], { type: 'application/json' }), `${job.result.name.replace(/\.\w+$/, '')}.json`);
}

// Paint what a job painted once more, with a longest side of `size`, and download it.
export async function enlarge(id, size) {
  const made = await kept.jobParts(id);
  if (!made?.photo) return toast(t('noKept'), { kind: 'error' });
  const settings = { ...made.settings, size };
  if (!size) delete settings.size;
  return begin({ settings, parts: made.parts }, made.photo, { download: true });
}

others?.addEventListener('message', () => load().catch(() => {}));
addEventListener('visibilitychange', () => { if (!document.hidden && state.methods.length) load().catch(() => {}); });
